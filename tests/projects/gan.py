"""A GAN by hand: two optimizers and manual optimization."""

import lightning.pytorch as pl
import torch
from harness import check
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy


class Gan(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
        self.critic = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Dropout(0.1), nn.Linear(16, 1))

    def training_step(self, batch):
        (real,) = batch
        for_generator, for_critic = self.optimizers()
        fake = self.generator(torch.randn(len(real), 4))
        on_real, on_fake = self.critic(real), self.critic(fake.detach())
        loss = cross_entropy(on_real, torch.ones_like(on_real)) + cross_entropy(on_fake, torch.zeros_like(on_fake))
        self.take_step(for_critic, loss, "critic")
        score = self.critic(fake)
        self.take_step(for_generator, cross_entropy(score, torch.ones_like(score)), "generator")

    def take_step(self, optimizer, loss, name):
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.log(name, loss, on_step=True, on_epoch=True)

    def configure_optimizers(self):
        return [torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.9)) for net in (self.generator, self.critic)]


def train(callbacks, options):
    circle = torch.linspace(0, 6.28, 200)
    points = torch.utils.data.TensorDataset(torch.stack([circle.cos(), circle.sin()], 1))
    loader = torch.utils.data.DataLoader(points, 10, shuffle=True)
    pl.Trainer(max_epochs=2, callbacks=callbacks, **options).fit(Gan(), loader)


given = {"LRFinder": {"monitor": "critic", "optimizer": 1}, "RunCheckpoint": {"monitor": "critic_epoch"}}
check(
    train, [], "generator.0.weight", given, refused={"StepsPerExecution": "manual optimization"}, title="a GAN by hand"
)
