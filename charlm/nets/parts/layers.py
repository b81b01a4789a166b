"""How the deep nets begin, and how they are normalised. Dimension key: B rows, H units."""

import torch
from torch import Tensor, nn

_LOGITS = 0.1  # of the size that would give logits of unit size: the first loss is about ln V


@torch.no_grad()
def start_tanh(layer: nn.Linear) -> None:
    """Weights for the inputs of tanh units: of about unit size, by gain 5/3 over sqrt(fan in); biases of 0.

    Source: He et al. 2015, ICCV, "Delving Deep into Rectifiers", with torch's gain for tanh.
    """
    nn.init.kaiming_normal_(layer.weight, nonlinearity="tanh")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


@torch.no_grad()
def start_logits(layer: nn.Linear) -> None:
    """Weights for logits near zero, so that no first steps are wasted on taking back a wrong certainty."""
    nn.init.normal_(layer.weight, std=_LOGITS / layer.in_features**0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class BatchNorm(nn.BatchNorm1d):
    """torch's own, but that a training batch of one row, which has no spread, is normalised by the running means."""

    def forward(self, input: Tensor) -> Tensor:
        """Float (B, H) in and out."""
        if not self.training or len(input) > 1:
            return super().forward(input)
        return nn.functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )
