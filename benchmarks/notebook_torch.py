"""An epoch of mnist-mlp-128 as notebooks write it in PyTorch.

A Dataset that makes a PIL image of each picture, as torchvision's MNIST does, and passes it through ToTensor and
Normalize, a shuffling DataLoader, Adam as it comes, and the loss fetched after every step.  Run as a script it trains
on random images of MNIST's shape: ``python benchmarks/notebook_torch.py --batch 64``.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

CLASSES = 10
HIDDEN = 128


class Images(Dataset):  # type: ignore[misc]
    """Images (n, h, w, 1) of uint8 and their labels, each transformed when it is asked for."""

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[Any]) -> None:
        self.images, self.labels = torch.tensor(images[..., 0]), torch.tensor(labels)
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index].numpy())), int(self.labels[index])


class Network(nn.Module):  # type: ignore[misc]
    """Flatten, dense 128, ReLU, dense 10."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 10) of images (n, 1, h, w)."""
        x = x.view(x.shape[0], -1)
        return self.fc2(torch.relu(self.fc1(x)))


def epoch(images: NDArray[np.uint8], labels: NDArray[Any], batch: int) -> float:
    """Seconds of one training epoch over ``images`` (n, h, w, 1), from fresh weights; building is not counted."""
    loader = DataLoader(Images(images, labels), batch_size=batch, shuffle=True)
    model = Network(images[0].size)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    model.train()
    begin = time.perf_counter()
    running_loss = 0.0
    for inputs, classes in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), classes)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    return time.perf_counter() - begin


def main() -> None:
    """Time epochs on random images of MNIST's shape."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (given.images, 28, 28, 1), dtype=np.uint8)
    labels = random.integers(0, CLASSES, given.images)
    for _ in range(given.epochs):
        seconds = epoch(images, labels, given.batch)
        print(f"{seconds:.2f} s for {given.images} images, batch {given.batch}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
