"""GPT-2 of transformers with a linear warm-up, accumulation, clipping, dropout and validation."""

import lightning.pytorch as pl
import torch
from harness import check
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel, get_linear_schedule_with_warmup


class Lit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_positions=16, n_embd=16, n_layer=2, n_head=2))

    def training_step(self, batch, batch_idx):
        loss = self.net(input_ids=batch, labels=batch).loss
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.net(input_ids=batch, labels=batch).loss)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
        schedule = get_linear_schedule_with_warmup(optimizer, 5, 30)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def sample_names(self, n, seed):
        torch.manual_seed(seed)
        tokens = self.net.generate(torch.zeros(n, 1, dtype=torch.long), max_length=8, do_sample=True, pad_token_id=0)
        return ["".join(chr(97 + int(token) % 26) for token in row) for row in tokens]


def train(callbacks, options):
    texts = torch.randint(30, (120, 12), generator=torch.Generator().manual_seed(1))
    options |= {"max_epochs": 2, "accumulate_grad_batches": 2, "gradient_clip_val": 1.0}
    loaders = DataLoader(texts[:100], 4, shuffle=True), DataLoader(texts[100:], 10)
    pl.Trainer(callbacks=callbacks, **options).fit(Lit(), *loaders)


given = {"RunCheckpoint": {"monitor": "val_loss"}, "NameSamples": {"n": 5, "scored": 10}}
check(train, ["transformers"], "net.transformer.wte", given)
