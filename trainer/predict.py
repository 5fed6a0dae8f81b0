"""The products of a catalogue that go best with a picture, as a page and as text.

    python -m trainer.predict --root R --picture photo.jpg --category Shoes
        --out page.html [--model RUN_ID | champion] [--top 12]
        [--catalog_dataset VERSION]

Several pictures after `--picture` are as many rankings on one page.

The picture goes the pipeline's own way (Pillow, the kept backbone, float16, the heads)
and the products' features are those that are cached, so the ranking is what
`rank_catalog` would publish for that scene, up to the rounding of the backbone's sums.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from etils import epath

from tfrecords_schema import storage
from tfrecords_schema.cli import configure_logging
from tfrecords_schema.errors import InputError, exit_on_input_error
from tfrecords_schema.layout import Root
from trainer.models.pointer import CHAMPION
from trainer.pictures.pictures import QueryPicture
from trainer.serving.chosen_model import choose_model, find_category


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    configure_logging("predict", argv)
    options = _parser().parse_args(argv)
    if options.top < 1:
        raise InputError(f"--top {options.top} must be at least 1")
    out = epath.Path(options.out)
    if out.is_dir():
        raise InputError(f"--out {out} is a folder; name the page to write in it")
    queries = [QueryPicture.read(path) for path in options.picture]
    root = Root.of(options.root)
    chosen = choose_model(root, options.model)
    category = find_category(options.category, chosen)
    # TensorFlow takes seconds that a wrong option need not wait for.
    from trainer.serving.prediction import predict, read_products, render_text
    from trainer.serving.prediction_page import ProductPictures, render_page

    dataset = options.catalog_dataset or chosen.manifest["dataset"]
    products = read_products(root, dataset, category)
    predictions = predict(root, chosen, category, products, options.top, queries)
    page = render_page(
        predictions,
        category=category,
        n_products=len(products),
        dataset=dataset,
        manifest=chosen.manifest,
        pictures=ProductPictures(root.image_store),
    )
    try:
        storage.write_atomic(out, page.encode())
    except OSError as error:
        raise InputError(f"--out {out} cannot be written: {error}") from None
    for prediction in predictions:
        print(render_text(prediction, category, len(products)), end="\n\n")
    print(f"page: {out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], allow_abbrev=False
    )
    parser.add_argument("--root", required=True, help="storage root")
    parser.add_argument(
        "--model", default=CHAMPION, help="run id, or `champion` (default)"
    )
    parser.add_argument(
        "--picture",
        required=True,
        nargs="+",
        action="extend",
        help="one or more JPEG, PNG or WebP files, such as photos/*.jpg",
    )
    parser.add_argument(
        "--category",
        required=True,
        help="of the products; the last step of a path is enough where only one "
        "category has it",
    )
    parser.add_argument("--top", type=int, default=12, help="products a picture")
    parser.add_argument(
        "--catalog_dataset",
        help="data set whose products are ranked (default: the model's own)",
    )
    parser.add_argument("--out", required=True, help="the HTML page to write")
    return parser


if __name__ == "__main__":
    exit_on_input_error(main)
