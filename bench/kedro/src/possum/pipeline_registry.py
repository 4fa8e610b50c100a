"""The pipeline: it names each node's inputs and outputs, as in conf/base/catalog.yml."""

from kedro.pipeline import Node, Pipeline

from possum.nodes import featurize, predict, prepare, register, train


def register_pipelines() -> dict[str, Pipeline]:
    features = ["train_features", "test_features", "params:features"]
    nodes = [
        Node(prepare, ["possum_raw", "params:prepare"], ["train_set", "test_set"]),
        Node(
            featurize,
            ["train_set", "test_set", "params:features"],
            ["train_features", "test_features", "scaler", "scaler_mean"],
        ),
        Node(train, [*features, "params:train"], ["model", "metrics"]),
        Node(register, ["metrics", "params:registry"], "registered_model"),
        Node(
            predict,
            ["champion_model", "registered_model", "test_features", "params:features"],
            ["predictions", "prediction_plot"],
        ),
    ]
    return {"__default__": Pipeline(nodes)}
