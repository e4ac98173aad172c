"""The compiled part: the Rust library on torch's own libtorch. Tensors go both ways without copies."""

from os import PathLike
from typing import Any, Callable, Iterator, Optional, Union

from torch import Tensor

_Selection = tuple[Tensor, Tensor, Tensor]

class Generator:
    """torch.Generator on the CPU: the same draws from the same state."""

    def __init__(self, seed: int) -> None: ...
    def get_state(self) -> Tensor:
        """The 5056 bytes of torch.Generator.get_state(), a uint8 tensor."""
    def set_state(self, state: Tensor) -> None:
        """Raises ValueError if it is not such a state."""
    def randperm(self, n: int) -> Tensor:
        """torch.randperm(n, generator=self)."""

class MNIST:
    """The four files of MNIST in `root`, as torchvision lays them out. Raises ValueError if one is missing or damaged."""

    def __init__(self, root: Union[str, PathLike[str]]) -> None: ...
    @property
    def train_images(self) -> Tensor:
        """[60000, 1, 28, 28], float32 from 0 to 1."""
    @property
    def train_labels(self) -> Tensor:
        """[60000], int64."""
    @property
    def test_images(self) -> Tensor:
        """[10000, 1, 28, 28], float32 from 0 to 1."""
    @property
    def test_labels(self) -> Tensor:
        """[10000], int64."""

class SimpleDataModule:
    """ISLP.torch.SimpleDataModule of MNIST. Its loaders draw from `generator`. Raises ValueError if a part is empty."""

    def __init__(
        self, mnist: MNIST, *, validation: float, num_workers: int, batch_size: int, generator: Generator
    ) -> None: ...
    @staticmethod
    def of(
        train: _Selection, validation: _Selection, *, num_workers: int, batch_size: int, generator: Generator
    ) -> SimpleDataModule:
        """A module of data that are split already: inputs [N, ...], labels [N], and the indices of the items in the set. Its
        test set is the validation set."""
    def train_dataloader(self) -> DataLoader: ...
    def val_dataloader(self) -> DataLoader: ...
    def test_dataloader(self) -> DataLoader: ...

class DataLoader:
    """A loader. Each iter() is an epoch, and draws what iter() of torch's DataLoader draws."""

    def __iter__(self) -> Batches: ...
    def __len__(self) -> int: ...

class Batches:
    """The batches of an epoch: inputs [n, ...] and labels [n]."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...
    def __next__(self) -> tuple[Tensor, Tensor]: ...

class SimpleModule:
    """ISLP.torch.SimpleModule.classification: layers, cross-entropy and optimizer."""

    @staticmethod
    def classification(model: str, generator: Generator, lr: float = 0.01) -> SimpleModule:
        """The notebook's model "mlp" or "mlr", initialized by draws from the generator, and RMSprop."""
    @staticmethod
    def of(layers: list[Any], optimizer: dict[str, Any], generator: Generator) -> SimpleModule:
        """These layers, one after the other: "Flatten", "ReLU", ("Dropout", p), (name, weight, bias) of a Linear. Their
        parameters share memory with the given tensors. The optimizer is its class's name and its options."""
    def forward(self, inputs: Tensor, train: bool) -> Tensor:
        """The logits [N, C] of inputs [N, ...], with dropout if `train`. Raises ValueError for another shape."""
    def training_step(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """forward, loss, backward and the optimizer's step: the loss, the logits, and the gradients by parameter."""
    def state_dict(self) -> dict[str, Tensor]:
        """The parameters themselves, no copies."""
    def optimizer_states(self) -> dict[str, dict[str, Tensor]]:
        """The optimizer's states, such as square_avg, by parameter; no copies."""
    def set_steps(self, steps: int) -> None:
        """The optimizer's state is that after this number of steps."""

class Trainer:
    """pytorch_lightning.Trainer, an epoch at a time."""

    def __init__(
        self, generator: Generator, *, current_epoch: int, global_step: int, train_batches: int, log_every_n_steps: int
    ) -> None: ...
    @property
    def global_step(self) -> int:
        """The steps taken so far."""
    def rows(self, without: int) -> list[dict[str, str]]:
        """The rows of metrics.csv so far, without the first ones."""
    def fit_epoch(
        self, module: SimpleModule, data: SimpleDataModule, sampler_seed: int, on_step: Callable[[int], Optional[object]]
    ) -> dict[str, float]:
        """Trains and validates one more epoch, in the order of this seed: the last value of every metric. Calls `on_step` with
        the number of steps so far, a few times a second; what it raises ends the epoch, and so does a signal."""
