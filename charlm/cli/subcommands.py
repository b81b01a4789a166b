"""The subcommands of `charlm`, each with a line of help."""

TRAINER_COMMANDS = {
    "fit": "train a model, then show its losses and ten names",
    "validate": "loss and accuracy of a checkpoint on the validation split",
    "test": "loss and accuracy of a checkpoint on the test split",
    "predict": "write the predictions of a checkpoint to a CSV file",
    "lr-find": "find a learning rate for a model, and train nothing",
}
COMMANDS = {
    "sample": "draw names from a checkpoint",
    "score": "how surprising given names are to a checkpoint, and where",
    "export": "a checkpoint as torch.export, ONNX or safetensors file",
    "summary": "hyperparameters and losses of runs, side by side",
    "plot": "the loss curves of runs in one picture",
    "compare": "settings, losses, curves and names of a few runs, side by side",
    "dashboard": "TensorBoard on the runs",
    "compare-counts": "a trained model against counting",
}
