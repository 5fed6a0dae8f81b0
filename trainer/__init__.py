"""The model: backbones, layers, training, evaluation and the gate. Never Beam.

Which module is of what; jobs, which `python -m trainer.<name>` runs, have a star:

    configuration    config, config_fields, pictures_config, presets, unused_fields,
                     provenance
    backbones        backbones, backbone_form, backbone_identity, forward, whole_maps,
                     grids, picture_backbone, tuning, keras_files
    pictures         pictures, picture_graph, picture_table, picture_views,
                     stored_pictures
    what is read     source, features, feature_statistics, rows, pair_table, kept_maps,
                     map_keeping, preparation
    models           layers, pair_vectors, distances, embedding_model, model,
                     linear_model, picture_model
    training         task*, training, batches, losses, optimizers, schedule, steps,
                     loop, train_state, checkpoint_config, validation, watchdogs,
                     strategy, backend
    in closed form   closed_form, linear_projection
    processes        launch*, worker_group, tied
    looking on       telemetry, validation_views, showcase, projector, heat
    evaluation       evaluate*, eval_set, scene_features, vectors, picture_vectors,
                     scorers, linear_baseline, controls, rival, lineup, scoring,
                     metrics, bootstrap, calibration, metric_rows, metric_table, gallery
    champion         news*, gate*, promote*, reinstate*, pointer, chosen_model
    comparisons      compare*, comparison, comparison_files, variants
    export           export, export_serving*, serving, serving_folder, serving_graph
    prediction       predict*, prediction, prediction_page, nearest
"""
