"""Saves and loads the notebook's models in Python: python tests/weights.py save|logits MODEL FOLDER DATA_DIR.

`save` writes a newly initialized model in the usual ways: save_file and save_model of safetensors, torch.save of a
state_dict, and Lightning's own checkpoint. It also writes the model's test loss and accuracy as metrics.json.
`logits` loads model.safetensors with safetensors.torch.load_model, and writes the logits of the first test images.
"""

import json
import sys
from pathlib import Path

import torch
from ISLP.torch import SimpleDataModule, SimpleModule
from pytorch_lightning import Trainer
from safetensors.torch import load_model, save_file, save_model
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from models import MNIST_MLR, MNISTModel

what, name, folder, data_dir = sys.argv[1:]
folder = Path(folder)
torch.manual_seed(5)
model = {"mlp": MNISTModel, "mlr": MNIST_MLR}[name]()
mnist_test = MNIST(root=data_dir, train=False, transform=ToTensor())

if what == "logits":
    missing, unexpected = load_model(model, folder / "model.safetensors")
    assert not missing and not unexpected, (missing, unexpected)
    model.eval()
    images = torch.stack([mnist_test[i][0] for i in range(256)])
    save_file({"logits": model(images).detach()}, folder / "logits.safetensors")
else:
    save_file({name: p.detach() for name, p in model.named_parameters()}, folder / "save_file.safetensors")
    save_model(model, str(folder / "save_model.safetensors"))
    torch.save(model.state_dict(), folder / "state_dict.pt")
    module = SimpleModule.classification(model, num_classes=10)
    data = SimpleDataModule(mnist_test, mnist_test, validation=0.2, batch_size=256)
    trainer = Trainer(deterministic=True, logger=False, enable_progress_bar=False, enable_checkpointing=False,
                      max_epochs=0)
    trainer.fit(module, datamodule=data)
    trainer.save_checkpoint(folder / "lightning.ckpt")
    # SimpleModule's own test step averages batch means; the notebook's ErrorTracker evaluates all images at once.
    model.eval()
    with torch.no_grad():
        batches = torch.utils.data.DataLoader(mnist_test, batch_size=256)
        logits, labels = zip(*[(model(images), labels) for images, labels in batches])
    logits, labels = torch.cat(logits), torch.cat(labels)
    accuracy = module.metrics["accuracy"](logits, labels)
    metrics = {"test_loss": module.loss(logits, labels).item(), "test_accuracy": accuracy.item()}
    (folder / "metrics.json").write_text(json.dumps(metrics))
