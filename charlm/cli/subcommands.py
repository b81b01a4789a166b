"""The subcommands of `charlm`, with a line of help each."""

TRAINER_COMMANDS = {
    "fit": "train a model, then show its losses and ten names",
    "validate": "losses and accuracy of a checkpoint on the val split",
    "test": "losses and accuracy of a checkpoint on the test split",
    "predict": "write what a checkpoint makes of every character of the test split to a CSV file",
    "lr-find": "sweep the learning rate of what fit would train, and suggest one",
}
COMMANDS = {
    "sample": "draw names from a checkpoint",
    "score": "how surprising given names are to a checkpoint, and where",
    "export": "a checkpoint as a file for other programs: torch.export, ONNX or safetensors",
    "summary": "hyperparameters and losses of runs, side by side",
    "plot": "the loss curves of runs in one picture",
    "dashboard": "TensorBoard on the runs",
    "compare-counts": "a bigram checkpoint against counting",
}
