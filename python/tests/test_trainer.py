"""islp_mnist.Trainer beside pytorch_lightning's: the same bits, or Unsupported with nothing changed, and never a crash."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import torch
from ISLP.torch import ErrorTracker, SimpleDataModule
from pytorch_lightning.callbacks import Callback, GradientAccumulationScheduler, LambdaCallback
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset
from torchvision import transforms
from torchvision.datasets import MNIST
from trainings import after_test, both, data_set, plain, seed, state, trainer_of, training, usual

import islp_mnist

SEED = 20261129
CASES = 30
# Adam whose first beta is 0: its zeros keep their signs.
ZEROS = 429, 465
DATA = os.environ.get("ISLP_MNIST_DATA_DIR", "data")


def test_random_trainings_leave_the_same_bits(tmp_path):
    for number in (*range(CASES), *ZEROS):
        both(tmp_path, f"training {number}", training(SEED + number))


class Relu(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(12, 9), nn.Linear(9, 4)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


class Skip(Relu):
    def forward(self, x):
        hidden = self.first(x)
        return self.last(hidden) + hidden[:, :4]


class Backwards(Callback):
    def on_train_batch_end(self, *arguments):
        raise AssertionError("Rust called it")


class Own(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        return torch.ones(12) * index, index % 4


def linear():
    return nn.Linear(12, 4)


def twice():
    shared = nn.Linear(12, 12)
    return nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(12, 4))


def tied():
    model = nn.Sequential(nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 4))
    model[1].weight = model[0].weight
    return model


def changed(model, change):
    change(model)
    return model


def of(train, validation=None):
    test = TensorDataset(*data_set((12,), 4, 8))
    return SimpleDataModule(train, test, validation=test if validation is None else validation, batch_size=8)


# A word of the message, what makes module and data, and the Trainer's options.
REFUSED = {
    "another device": ("meta", lambda: usual(linear().to("meta")), {}),
    "a layer twice": ("share", lambda: usual(twice()), {}),
    "tied weights": ("share", lambda: usual(tied()), {}),
    "float64": ("float64", lambda: usual(linear().double()), {}),
    "frozen": ("frozen", lambda: usual(changed(linear(), lambda model: model.weight.requires_grad_(False))), {}),
    "empty training set": ("empty", lambda: usual(data=of(Subset(TensorDataset(*data_set((12,), 4, 9)), []))), {}),
    "empty tensors": ("empty", lambda: usual(data=of(TensorDataset(torch.ones(0, 12), torch.ones(0).long()))), {}),
    "empty validation set": ("empty", lambda: usual(data=of(
        TensorDataset(*data_set((12,), 4, 9)), TensorDataset(torch.ones(0, 12), torch.ones(0).long()))), {}),
    "labels of another shape": ("labels", lambda: usual(data=of(
        Subset(TensorDataset(torch.ones(9, 12), torch.ones(9, 1).long()), [1]))), {}),
    "another index": ("not there", lambda: usual(data=of(Subset(TensorDataset(*data_set((12,), 4, 9)), [100]))), {}),
    "Conv2d": ("Conv2d", lambda: usual(
        nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(4, 4)), shape=(1, 4, 4)), {}),
    "BatchNorm": ("buffer", lambda: usual(nn.Sequential(nn.BatchNorm1d(12), linear())), {}),
    "torch.relu": ("Linear", lambda: usual(Relu()), {}),
    "a skip connection": ("more than", lambda: usual(Skip()), {}),
    "another width": ("take the data", lambda: usual(nn.Linear(11, 4)), {}),
    "another number of classes": ("shape", lambda: usual(nn.Linear(12, 5)), {}),
    "a layer's hook": ("hook", lambda: usual(changed(linear(), lambda model: model.register_forward_hook(print))), {}),
    "a parameter's hook": ("hook", lambda: usual(changed(linear(), lambda model: model.weight.register_hook(print))), {}),
    "evaluation mode": ("evaluation", lambda: usual(linear().eval()), {}),
    "an empty parameter": ("empty", lambda: usual(nn.Sequential(nn.Linear(12, 0), nn.Linear(0, 4))), {}),
    "freed memory": ("freed", lambda: usual(
        changed(linear(), lambda model: model.weight.untyped_storage().resize_(0))), {}),
    "one parameter": ("parameters", lambda: usual(optimizer=lambda model: optim.SGD([model[0].weight])), {}),
    "two groups": ("groups", lambda: usual(optimizer=lambda model: optim.SGD(
        [{"params": model[0].parameters()}, {"params": model[3].parameters()}])), {}),
    "Adagrad": ("Adagrad", lambda: usual(optimizer=lambda model: optim.Adagrad(model.parameters())), {}),
    "amsgrad": ("amsgrad", lambda: usual(optimizer=lambda model: optim.Adam(model.parameters(), amsgrad=True)), {}),
    "a step's hook": ("on_train_batch_end", usual, {"callbacks": [Backwards()]}),
    "gradient_clip_val": ("gradient_clip_val", usual, {"gradient_clip_val": 0.5}),
    "accumulate_grad_batches": ("accumulate_grad_batches", usual, {"accumulate_grad_batches": 2}),
    "log_every_n_steps": ("log_every_n_steps", usual, {"log_every_n_steps": -1}),
    "max_steps": ("max_steps", usual, {"max_steps": 3}),
    "a data set of one's own": ("Own", lambda: usual(data=of(Own())), {}),
    "another transform": ("transform", lambda: usual(data=of(
        MNIST(DATA, transform=transforms.Compose([transforms.ToTensor(), transforms.Normalize(0, 1)])))), {}),
    "a step's hook of LambdaCallback": (
        "on_train_batch_end", usual, {"callbacks": [LambdaCallback(on_train_batch_end=print)]}),
    "a hook before the validation": (
        "on_validation_start", usual, {"callbacks": [LambdaCallback(on_validation_start=print)]}),
    "another accumulation later": ("changes", usual, {"callbacks": [GradientAccumulationScheduler({1: 2})]}),
    "an overwritten ReLU": ("overwrites", lambda: usual(nn.Sequential(linear(), nn.ReLU(), nn.ReLU(inplace=True))), {}),
    "no automatic_optimization": ("automatic", lambda: with_own(automatic_optimization=False), {}),
    "a step of one's own": ("training_step", lambda: with_own(training_step=print), {}),
    "a scheduler": ("configure_optimizers", lambda: scheduled(), {}),
}


def with_own(**attributes):
    module, data = usual()
    for name, value in attributes.items():
        setattr(module, name, value)
    return module, data


def scheduled():
    module, data = usual()
    scheduler = optim.lr_scheduler.ExponentialLR(module._optimizer, 0.5)
    module.configure_optimizers = lambda: ([module._optimizer], [scheduler])
    return module, data


def unsupported(word, trainer, module, folder, *arguments, **kwargs):
    def all_of_it():
        broken = any(p.is_meta or not p.untyped_storage().nbytes() for p in module.parameters())
        return broken or plain(module.state_dict(), folder), torch.get_rng_state().tolist(), sorted(folder.rglob("*"))

    before = all_of_it()
    try:
        trainer.fit(module, *arguments, **kwargs)
    except islp_mnist.Unsupported as reason:
        assert word in str(reason), reason
    else:
        raise AssertionError("not refused")
    assert before == all_of_it()
    assert not any("momentum_buffer" in entry for entry in module._optimizer.state.values())


def test_what_rust_does_not_train_is_refused_and_nothing_has_changed(tmp_path):
    for name, (word, make, kwargs) in REFUSED.items():
        seed(1)
        module, data = make()
        trainer = trainer_of(islp_mnist.Trainer, tmp_path / name, **kwargs)
        try:
            unsupported(word, trainer, module, tmp_path / name, datamodule=data)
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error


def test_loaders_and_ckpt_path_are_refused(tmp_path):
    module, data = usual()
    loader, folder = DataLoader(data.train_dataset), tmp_path
    unsupported("loaders", trainer_of(islp_mnist.Trainer, folder), module, folder, loader)
    unsupported("loaders", trainer_of(islp_mnist.Trainer, folder), module, folder, loader, loader)
    unsupported("ckpt_path", trainer_of(islp_mnist.Trainer, folder), module, folder, datamodule=data, ckpt_path="last.ckpt")


def test_fallback_lets_lightning_train(tmp_path):
    def train(cls, folder):
        seed(2)
        module, data = usual(Relu())
        trainer = trainer_of(cls, folder, **({"fallback": True} if cls is islp_mnist.Trainer else {}))
        trainer.fit(module, datamodule=data)
        yield after_test(trainer, module, data, folder)
    both(tmp_path, "fallback", train)


def test_nan_in_the_data_gives_the_same_bits(tmp_path):
    for value in float("nan"), float("inf"), 1e38:
        def train(cls, folder):
            seed(3)
            module, data = usual()
            data.train_dataset.dataset.tensors[0][17, 3] = value
            trainer = trainer_of(cls, folder)
            trainer.fit(module, datamodule=data)
            yield after_test(trainer, module, data, folder)
        both(tmp_path, f"{value}", train)


def test_a_label_out_of_range_is_refused(tmp_path):
    for label in -1, 4, -100, 2**62:
        for part in "train_dataset", "validation_dataset":
            seed(4)
            module, data = usual()
            inputs, labels = data_set((12,), 4, 9)
            labels[8] = label
            setattr(data, part, TensorDataset(inputs, labels))
            unsupported(str(label), trainer_of(islp_mnist.Trainer, tmp_path), module, tmp_path, datamodule=data)


def test_what_a_callback_changes_between_epochs_is_trained(tmp_path):
    def train(change):
        def fits(cls, folder):
            seed(9)
            module, data = usual()
            callback = LambdaCallback(on_train_epoch_end=lambda trainer, module: change(module))
            trainer = trainer_of(cls, folder, max_epochs=3, callbacks=[callback, ErrorTracker()])
            trainer.fit(module, datamodule=data)
            yield after_test(trainer, module, data, folder)
        return fits
    both(tmp_path, "lr", train(lambda module: module._optimizer.param_groups[0].update(lr=0.003)))
    both(tmp_path, "dropout", train(lambda module: setattr(module.model[2], "p", 0.7)))
    both(tmp_path, "weights", train(lambda module: module.model[0].weight.data.mul_(0.5)))
    both(tmp_path, "other memory", train(lambda module: setattr(module.model[0].weight, "data", torch.ones(9, 12))))


def test_further_fits_go_on_as_lightning_does(tmp_path):
    def train(workers, make):
        def fits(cls, folder):
            seed(5)
            module, data = usual(optimizer=make, num_workers=workers)
            trainer = trainer_of(cls, folder / "1")
            for max_epochs in 2, 2, 3, 5:
                trainer.fit_loop.max_epochs = max_epochs
                trainer.fit(module, datamodule=data)
                yield state(trainer, module, folder)
            yield after_test(trainer, module, data, folder)
            trainer = trainer_of(cls, folder / "2")
            trainer.fit(module, data)
            yield after_test(trainer, module, data, folder)
        return fits
    both(tmp_path, "RMSprop", train(0, None))
    both(tmp_path, "workers", train(2, lambda model: optim.Adam(model.parameters())))
    both(tmp_path, "SGD", train(0, lambda model: optim.SGD(model.parameters(), momentum=0.5, dampening=0.2)))


def test_two_trainers_in_two_threads_train(tmp_path):
    made = [usual() for _ in range(2)]
    trainers = [trainer_of(islp_mnist.Trainer, tmp_path / str(number), max_epochs=5) for number in range(2)]
    threads = [threading.Thread(target=trainer.fit, args=(module, data)) for trainer, (module, data) in zip(trainers, made)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for module, _ in made:
        assert all(torch.isfinite(parameter).all() for parameter in module.parameters())
    assert [trainer.global_step for trainer in trainers] == [20, 20]


CHILD = """
import os, pathlib, sys, trainings, islp_mnist
islp_mnist.SimpleModule
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
trainings.trainer_of(islp_mnist.Trainer, pathlib.Path(sys.argv[1])).fit(*trainings.usual())
"""


def test_a_child_process_trains(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    # Not after OpenMP has started its threads: then Lightning hangs too.
    subprocess.run([sys.executable, "-c", CHILD, tmp_path], env=environment, timeout=30, check=True)


def test_ctrl_c_within_an_epoch_ends_the_training_as_lightning_does(tmp_path):
    seed(6)
    module, data = usual(shape=(12,))
    data.train_dataset = TensorDataset(*data_set((12,), 4, 200_000))
    trainer = trainer_of(islp_mnist.Trainer, tmp_path)
    timer = threading.Timer(0.8, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        trainer.fit(module, datamodule=data)
    except SystemExit as exit:
        assert exit.code == 1
    else:
        raise AssertionError("not interrupted")
    assert trainer.state.status == "interrupted" and trainer.rust is None
    assert all(torch.isfinite(parameter).all() for parameter in module.parameters())
    assert not torch.equal(torch.rand(9), torch.rand(9))
    steps = {int(entry["step"]) for entry in module._optimizer.state.values()}
    assert steps == {trainer.global_step} and trainer.global_step > 0
    trainer = trainer_of(islp_mnist.Trainer, tmp_path / "again")
    trainer.fit(module, usual()[1])
    assert trainer.global_step == 8
