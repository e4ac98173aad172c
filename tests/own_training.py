"""The custom training with a trace from docs/parity.md; examples/trace.rs is the same in Rust."""

import torch
from islp_mnist.trace import Trace
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset


class Classifier(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x)

    def training_step(self, batch, batch_idx):
        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), lr=0.01)


torch.ones(1).sqrt()  # see "MKL's square root"
torch.manual_seed(0)
x = torch.empty(64, 4).uniform_(-1, 1)
loader = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=16, shuffle=True)
trainer = Trainer(max_epochs=2, callbacks=[Trace("python.trace", steps=range(8))], logger=False,
                  enable_checkpointing=False, enable_progress_bar=False)
trainer.fit(Classifier(), loader)
