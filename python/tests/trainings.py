"""Random trainings, and what a training leaves, bit by bit."""

import logging
import os
import random
import warnings

import pytorch_lightning
import torch
from ISLP.torch import ErrorTracker, SimpleDataModule, SimpleModule
from pytorch_lightning.callbacks import Callback, EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import nn, optim
from torch.utils.data import Subset, TensorDataset

import islp_mnist

warnings.simplefilter("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)


class Chain(nn.Module):
    """Two parts, the second declared first."""

    def __init__(self, first, second):
        super().__init__()
        self.second, self.first = second, first

    def forward(self, x):
        return self.second(self.first(x))


class Draws(Callback):
    """A user's callback that draws from torch's generator between the steps."""

    def __init__(self):
        self.drawn = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.drawn.append((trainer.current_epoch, trainer.global_step, torch.rand(2)))

    def on_validation_epoch_end(self, trainer, pl_module):
        self.drawn.append((trainer.sanity_checking, pl_module.training, torch.is_grad_enabled(), torch.rand(1)))

    def on_train_epoch_end(self, trainer, pl_module):
        self.drawn.append((dict(trainer.callback_metrics), trainer.progress_bar_metrics, torch.randn(3)))
        self.drawn.append([parameter.detach().clone() for parameter in pl_module.parameters()])

    def on_train_end(self, trainer, pl_module):
        self.drawn.append((trainer.current_epoch, trainer.global_step, torch.rand(1)))

    def state_dict(self):
        return {"drawn": len(self.drawn)}


def seed(number):
    """A generator of random choices; torch's starts at the same number."""
    torch.manual_seed(number)
    return random.Random(number)


def network(r, shape, classes):
    depth, width = r.randint(1, 4), int(torch.tensor(shape).prod())
    layers = [nn.Flatten()] if len(shape) > 1 or r.random() < 0.3 else []
    for number in range(depth):
        out = classes if number == depth - 1 else r.randint(1, 70)
        part = [nn.Linear(width, out, bias=r.random() < 0.8)]
        if number < depth - 1 or r.random() < 0.2:
            dropout = nn.Dropout(r.choice([0, 0, 0.1, 0.4, 0.5, 0.9, 1]))
            part += r.sample([nn.ReLU(), nn.Identity(), dropout], r.randint(0, 3))
        layers += r.choice([[nn.Sequential(*part)], part])
        width = out
    if r.random() < 0.3:
        cut = r.randint(0, len(layers))
        return Chain(nn.Sequential(*layers[:cut]), nn.Sequential(*layers[cut:]))
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def optimizer(r, parameters):
    parameters, lr, decay = list(parameters), r.choice([0.001, 0.01, 0.1]), r.choice([0, 0, 0.01, 0.3])
    if r.random() < 0.2:
        parameters.reverse()
    name, momentum = r.choice(["RMSprop", "RMSprop", "SGD", "Adam", "AdamW"]), r.choice([0, 0, 0.5, 0.9])
    if name == "RMSprop":
        alpha, eps = r.choice([0.99, 0.9, 0, 1]), r.choice([1e-8, 1e-5, 1e-10, 1e-12])
        return optim.RMSprop(
            parameters, lr=lr, alpha=alpha, eps=eps, weight_decay=decay, momentum=momentum, centered=r.random() < 0.3,
            maximize=r.random() < 0.2)
    if name == "SGD":
        nesterov = momentum > 0 and r.random() < 0.5
        dampening = 0 if nesterov else r.choice([0, 0.3])
        return optim.SGD(
            parameters, lr=lr, momentum=momentum, dampening=dampening, nesterov=nesterov, weight_decay=decay)
    betas, eps = r.choice([(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)]), r.choice([1e-8, 1e-12])
    return getattr(optim, name)(parameters, lr=lr, betas=betas, eps=eps, weight_decay=decay)


def data_set(shape, classes, count, numbers=None):
    inputs = torch.randn(count, *shape, generator=numbers)
    # Some are always 0, as an image's margin.
    return inputs * (inputs[:1] > -0.5), torch.randint(classes, (count,), generator=numbers)


def data_module(r, shape, classes):
    numbers = torch.Generator().manual_seed(r.randint(0, 1000))
    count = r.choice([2, 7, 33, 90])
    workers = r.choice([0, 0, 0, 2])
    kwargs = {"batch_size": r.choice([1, 5, 16, 32, 200]) if not workers else 16, "num_workers": workers,
              "persistent_workers": r.random() < 0.5, "seed": r.choice([0, 3])}
    inputs, labels = data_set(shape, classes, count, numbers)
    kind = r.choice(["float", "int", "Dataset", "Subset", "arrays"])
    if kind == "arrays":
        return SimpleDataModule.fromarrays(
            inputs.numpy(), labels.numpy(), test=1, validation=0, test_as_validation=True, **kwargs)
    train, test = TensorDataset(inputs, labels), TensorDataset(*data_set(shape, classes, 9, numbers))
    validation = {"float": 0.5, "int": 1, "Dataset": test, "Subset": Subset(train, [1, 0, 1])}[kind]
    return SimpleDataModule(train, test, validation=validation, **kwargs)


def callbacks(r):
    found = [ErrorTracker()] if r.random() < 0.8 else []
    if found and r.random() < 0.3:
        found.append(EarlyStopping("valid_loss", patience=1, min_delta=r.choice([0, 10])))
    if found and r.random() < 0.3:
        top, last = r.choice([1, 2, -1]), r.random() < 0.5
        found.append(ModelCheckpoint(
            monitor="valid_loss", save_top_k=top, save_last=last, filename="{epoch}-{valid_loss:.3f}"))
    if r.random() < 0.4:
        found.insert(r.randint(0, len(found)), Draws())
    return found


def plain(value, folder):
    """The value as something that == compares bit by bit."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.requires_grad, value.detach().numpy().tobytes()
    if isinstance(value, dict):
        return type(value).__name__, [(plain(key, folder), plain(item, folder)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(item, folder) for item in value]
    return repr(value).replace(str(folder), "FOLDER")


def state(trainer, module, folder):
    """Everything that a fit leaves."""
    found = {
        "parameters": module.state_dict(), "optimizer": module._optimizer.state_dict(), "generator": torch.get_rng_state(),
        "epochs and steps": (trainer.current_epoch, trainer.global_step), "status": str(trainer.state),
        "callback_metrics": trainer.callback_metrics, "logged_metrics": trainer.logged_metrics,
        "progress_bar_metrics": trainer.progress_bar_metrics, "fit_loop": trainer.fit_loop.state_dict(),
        "modes": [part.training for part in module.modules()], "should_stop": trainer.should_stop,
        "drawn": [callback.drawn for callback in trainer.callbacks if type(callback) is Draws],
        "callbacks": [type(callback).__name__ for callback in trainer.callbacks],
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
    }
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".ckpt":
            found[path.name] = torch.load(path, weights_only=False)
        elif path.is_file():
            found[path.name] = path.read_bytes()
    return {name: plain(value, folder) for name, value in found.items()}


def same(left, right, where):
    differ = [name for name in {**left, **right} if left.get(name) != right.get(name)]
    if differ:
        left, right = (str(values.get(differ[0])) for values in (left, right))
        start = max(len(os.path.commonprefix([left, right])) - 60, 0)
        raise AssertionError(f"{where}: {differ} differ: {left[start:start + 160]} | {right[start:start + 160]}")


def both(tmp_path, where, training):
    """Calls `training(Trainer, folder)` with both Trainers, and compares what it yields."""
    lightnings, ours = (list(training(cls, tmp_path / where / name)) for cls, name in
                        ((pytorch_lightning.Trainer, "a"), (islp_mnist.Trainer, "b")))
    for number, (left, right) in enumerate(zip(lightnings, ours, strict=True)):
        same(left, right, f"{where}, after {number}")


def trainer_of(cls, folder, **kwargs):
    folder.mkdir(parents=True, exist_ok=True)
    kwargs = {"max_epochs": 2, "logger": CSVLogger(folder, name="log"), "callbacks": [ErrorTracker()],
              "default_root_dir": folder, "deterministic": True, **kwargs}
    return cls(enable_progress_bar=False, enable_model_summary=False, accelerator="cpu", **kwargs)


def after_test(trainer, module, data, folder):
    result = trainer.test(module, datamodule=data, verbose=False)
    return {**state(trainer, module, folder), "test": plain(result, folder)}


def training(number):
    """A random training, the same for both Trainers."""
    def train(cls, folder):
        r = seed(number)
        shape, classes = r.choice([(r.randint(1, 70),), (1, r.randint(1, 8), r.randint(1, 8))]), r.randint(2, 12)
        data, model = data_module(r, shape, classes), network(r, shape, classes)
        module = SimpleModule.classification(model, classes, optimizer=optimizer(r, model.parameters()))
        kwargs = {"max_epochs": r.randint(1, 3), "log_every_n_steps": r.choice([0, 1, 2, 3, 50]), "callbacks": callbacks(r)}
        if r.random() < 0.3:
            kwargs["limit_train_batches"] = r.choice([1, 2, 1.0, 1000])
        trainer = trainer_of(cls, folder, **kwargs)
        trainer.fit(module, datamodule=data)
        yield state(trainer, module, folder)
        yield after_test(trainer, module, data, folder)
    return train


def usual(model=None, optimizer=None, data=None, shape=(12,), **kwargs):
    """A small module and its data, and whatever else is given."""
    model = model or nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Dropout(0.3), nn.Linear(9, 4))
    module = SimpleModule.classification(model, 4, optimizer=optimizer(model) if optimizer else None)
    train, test = (TensorDataset(*data_set(shape, 4, count)) for count in (40, 8))
    return module, data or SimpleDataModule(train, test, validation=0.25, batch_size=8, **kwargs)
