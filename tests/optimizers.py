"""Saves the steps of PyTorch's optimizers: python tests/optimizers.py FILE.safetensors.

Of each, the gradients and the parameters and states after every tenth of 200 steps; tests/library/optimizers.rs compares its
own with them.
"""

import sys

import torch
from safetensors.torch import save_file
from torch.optim import SGD, Adam, AdamW, RMSprop

STEPS, EVERY = 200, 10
OPTIMIZERS = {
    "sgd": lambda parameters: SGD(parameters, 0.05),
    "sgd_decay": lambda parameters: SGD(parameters, 0.05, weight_decay=0.01),
    "momentum": lambda parameters: SGD(parameters, 0.05, momentum=0.9, dampening=0.1, weight_decay=0.01),
    "nesterov": lambda parameters: SGD(parameters, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda parameters: Adam(parameters, 0.01),
    "adam_decay": lambda parameters: Adam(parameters, 0.01, betas=(0.8, 0.99), eps=1e-6, weight_decay=0.01),
    "adamw": lambda parameters: AdamW(parameters, 0.01),
    "rmsprop_decay": lambda parameters: RMSprop(parameters, 0.02, alpha=0.9, eps=1e-12, weight_decay=0.01),
    "rmsprop_momentum": lambda parameters: RMSprop(parameters, momentum=0.9, maximize=True),
    "rmsprop_centered": lambda parameters: RMSprop(parameters, centered=True, momentum=0.5, weight_decay=0.01),
}

def main():
    # As in scripts/notebook.py.
    torch.ones(1).sqrt()
    generator = torch.Generator().manual_seed(0)
    start = {name: torch.randn(size, generator=generator) for name, size in {"a": (37, 23), "b": (5,), "c": (1001,)}.items()}
    # Of very different sizes, some of them 0.
    scales = {name: torch.randint(-12, 3, tensor.shape, generator=generator) for name, tensor in start.items()}
    gradients = {f"gradient.{step}.{name}": torch.randn(tensor.shape, generator=generator) * 10.0 ** scales[name] * (scales[name] > -12)
                 for step in range(STEPS) for name, tensor in start.items()}
    saved = {**{f"start.{name}": tensor for name, tensor in start.items()}, **gradients}
    for name, make_optimizer in OPTIMIZERS.items():
        parameters = {key: torch.nn.Parameter(tensor.clone()) for key, tensor in start.items()}
        optimizer = make_optimizer(list(parameters.values()))
        for step in range(STEPS):
            for key, parameter in parameters.items():
                parameter.grad = gradients[f"gradient.{step}.{key}"].clone()
            optimizer.step()
            if (step + 1) % EVERY == 0 or step < 3:
                for key, parameter in parameters.items():
                    saved[f"{name}.{step}.{key}"] = parameter.detach().clone()
                    for kind, tensor in optimizer.state[parameter].items():
                        if kind != "step" and tensor is not None:
                            saved[f"{name}.{step}.{kind}.{key}"] = tensor.clone()
    save_file(saved, sys.argv[1])


if __name__ == "__main__":
    main()
