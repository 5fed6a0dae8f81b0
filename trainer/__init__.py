"""The model: backbones, layers, training, evaluation and the gate. Never Beam.

Modules here are jobs, which `python -m trainer.<name>` runs. What they are made of is
in packages; each imports only those below it (a contract in `pyproject.toml`):

    task, launch     train a model, in one process or several
    evaluate         measure it beside baselines and controls
    news, gate, promote, reinstate
                     what is new, whether it may follow the champion, and who it is
    compare          many configurations on the same pairs
    export_serving, predict
                     from a JPEG to products

    serving          prediction for single pictures, and the folder that is served
    comparisons      variants, and one measurement for all of them
    training         batches, steps, the loop, checkpoints, processes; the closed form
    monitoring       what TensorBoard shows besides curves
    evaluation       pairs, scorers, metrics, intervals, calibration
    models           layers, distances, losses; a model as a folder, the champion
    inputs           features, kept maps and pairs, by rows
    pictures         read within limits, as a graph, cut into views, by rows
    backbones        networks that turn pictures into features
    configuration    fields and their ranges, presets, a model's name
"""
