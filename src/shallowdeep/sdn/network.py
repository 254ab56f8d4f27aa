"""The Shallow-Deep Network: a backbone in stages, with an internal classifier between each two."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, cast

import torch
from torch import Tensor, nn

from shallowdeep.data.any_preprocessing import AnyPreprocessing
from shallowdeep.errors import DataError
from shallowdeep.exits.costs import CostModel
from shallowdeep.input_spec import InputSpec, images_spec
from shallowdeep.runtime import evaluating
from shallowdeep.sdn.hub import push
from shallowdeep.sdn.inputs import Inputs, by_name, first_of, padding_mask
from shallowdeep.sdn.internal_classifier import InternalClassifier
from shallowdeep.sdn.saving import Architecture, save
from shallowdeep.sdn.stage import NOTHING, WholeStage
from shallowdeep.sdn.wrappers import computed_in, copied


class RunsBackbone(Protocol):
    """A stage: part of a backbone as a function of the backbone, one tensor, and inputs that travel beside it."""

    @property
    def beside(self) -> tuple[str, ...]:
        """Names of the network's inputs that it reads besides the previous part's output."""

    def __call__(self, backbone: nn.Module, x: Tensor, inputs: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """Output of the part for the previous part's output."""


class Entered(NamedTuple):
    """A batch as stages take it.

    Attributes:
        x: what enters the first stage.
        inputs: all inputs, by name.
        mask: (N, L) bool, which tokens are no padding; None where internal classifiers do not ask.
    """

    x: Tensor
    inputs: Mapping[str, Tensor]
    mask: Tensor | None


@dataclass(frozen=True)
class Exit:
    """Where an exit stands.

    Attributes:
        name: path of the module that ends there; ``final`` for the backbone's own head.
        cut: name of the cut point's node; empty for the final exit.
        fraction: target share of the backbone's MACs; 1 for the final exit.
        depth: share of the backbone's MACs in fact done there.
        macs: MACs to reach the exit, internal classifiers passed on the way included, per sample.
        head: kind of internal classifier.
        cascaded: whether it reads the logits of the internal classifier before it too.
    """

    name: str
    cut: str
    fraction: float
    depth: float
    macs: int
    head: str = "pooled"
    cascaded: bool = False


def cost_model(exits: Sequence[Exit], backbone_macs: int) -> CostModel:
    """Return what exits cost, by multiply-adds.

    An exit's MACs are those of the backbone up to there and of every internal classifier up to there, its own among
    them. So heads up to exit k do ``macs_k - depth_k·B``, in whole MACs, and a head does a difference of two of these.

    Args:
        exits: E of them, the last the final classifier.
        backbone_macs: B, of the backbone alone, per sample.
    """
    up_to = [exit_.macs - round(exit_.depth * backbone_macs) for exit_ in exits[:-1]]
    return CostModel(
        reached=tuple(exit_.macs / backbone_macs for exit_ in exits),
        heads=tuple((total - before) / backbone_macs for before, total in zip([0, *up_to], up_to, strict=False)),
        cascaded=any(exit_.cascaded for exit_ in exits),
    )


class ShallowDeepNetwork(nn.Module):
    """All exits' logits from one pass; knows nothing of thresholds.

    Made by `convert`. The backbone is a submodule, whole: its parameters keep their names under ``backbone.``
    and its stages run on its own modules.

    Args:
        backbone: the unmodified classifier; taken over, not copied.
        stages: E of them, run in turn.
        internal_classifiers: E-1 of them.
        exits: E of them, the last the final classifier.
        backbone_macs: MACs of the backbone alone, per sample.

    Attributes:
        preprocessing: how image files become input; set by training and loading, else None.
        classes: class names; set by training and loading, else ().
        architecture: how to build the backbone again by name; None for one made from an object.
        inputs: what it takes: their names, shapes and dtypes; () where that is not known.
        weights: SHA-256 of the weights file it was last saved to or loaded from, else "".

    Example:
        >>> import torch, shallowdeep
        >>> model = shallowdeep.build("resnet20", num_classes=10, image_size=32).eval()
        >>> network = shallowdeep.convert(model, torch.zeros(1, 3, 32, 32), fractions=[0.5])
        >>> images = torch.randn(2, 3, 32, 32)
        >>> torch.equal(network(images)[-1], model(images))  # the final exit is the backbone, bit for bit
        True
        >>> [f"{cost:.2f}" for cost in network.costs]
        ['0.45', '1.00']
        >>> type(network.to_backbone()) is type(model)
        True
    """

    def __init__(
        self,
        backbone: nn.Module,
        stages: Sequence[RunsBackbone],
        internal_classifiers: Sequence[InternalClassifier],
        exits: Sequence[Exit],
        backbone_macs: int,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.internal_classifiers = nn.ModuleList(internal_classifiers).train(backbone.training)
        self.stages = tuple(stages)
        self.exits = tuple(exits)
        self.backbone_macs = backbone_macs
        self.preprocessing: AnyPreprocessing | None = None
        self.classes: tuple[str, ...] = ()
        self.architecture: Architecture | None = None
        self.inputs: tuple[InputSpec, ...] = ()
        self.weights = ""
        self.frozen = False
        self.fixed_size = False  # whether a Python number was made of the example's size
        self.contiguous = False  # whether maps must be laid out channels first, see `channels_last`
        self.training = backbone.training  # its submodules keep the modes they came in

    @classmethod
    def without_exits(
        cls, backbone: nn.Module, backbone_macs: int, inputs: Sequence[InputSpec] = ()
    ) -> ShallowDeepNetwork:
        """The backbone as a network whose only exit is its own; nothing is traced."""
        final = Exit("final", "", 1.0, 1.0, backbone_macs)
        stage = WholeStage([spec.name for spec in inputs]) if inputs else WholeStage()
        network = cls(backbone, [stage], [], [final], backbone_macs)
        network.inputs = tuple(inputs)
        return network

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample of what enters the first stage, such as (C, H, W); None where it is not known."""
        return self.inputs[0].shape if self.inputs else None

    @input_shape.setter
    def input_shape(self, shape: tuple[int, ...] | None) -> None:
        self.inputs = () if shape is None else (images_spec(shape),)

    @property
    def costs(self) -> CostModel:
        """Relative cost of each exit: its MACs over the backbone's."""
        return cost_model(self.exits, self.backbone_macs)

    @property
    def num_classes(self) -> int:
        """C; 0 where neither internal classifiers nor class names tell."""
        for classifier in self.internal_classifiers:
            return int(classifier.get_submodule("linear").get_parameter("weight").shape[0])
        return len(self.classes)

    def save(self, directory: Path | str, *, dtype: str = "fp32") -> None:
        """Write the network to a directory, which `shallowdeep.load` reads; a write that fails leaves what was there.

        Args:
            directory: made if need be; an older network there is replaced.
            dtype: ``fp32``, or ``fp16`` for half the size.

        Raises:
            ConfigurationError: ``dtype`` is unknown.
            OutputError: the disk is full or cannot be written.
        """
        save(self, directory, dtype=dtype)

    def push_to_hub(self, name: str, *, run: Path | str | None = None, private: bool = False) -> str:
        """Upload the network with a model card to the Hugging Face hub, for ``shallowdeep.load("hf:OWNER/NAME")``.

        Args:
            name: ``OWNER/NAME``.
            run: the RUN it was loaded from, whose files, history and policy among them, are uploaded as they are.
            private: make a repository that others cannot see.

        Returns:
            The address of the repository.

        Raises:
            ModelError: huggingface_hub is not installed, or the hub refuses or cannot be reached.
        """
        return push(self, name, run=run, private=private)

    def forward(self, images: Inputs | None = None, **inputs: Tensor) -> Tensor:
        """Logits of all exits.

        Args:
            images: (N, 3, H, W) float, normalised; or what else the network was converted for, several tensors by name.
            **inputs: these tensors, instead of ``images``.

        Returns:
            (E, N, C), unnormalised.

        Raises:
            DataError: inputs by other names than the network's, or images of another size where the network is for one.
        """
        return self._all_exits(self.entering(inputs if images is None else images))

    def _all_exits(self, entered: Entered) -> Tensor:
        (x, inputs, mask), previous = entered, None
        logits = []
        for stage, classifier in zip(self.stages, self.internal_classifiers, strict=False):
            x = stage(self.backbone, x, inputs)
            previous = classifier(x, previous, mask)
            logits.append(previous)
        logits.append(self.stages[-1](self.backbone, x, inputs))
        return torch.stack(logits)  # (E, N, C)

    def entering(self, images: Inputs) -> Entered:
        """Return a batch as stages and internal classifiers take it.

        Raises:
            DataError: see `forward`.
        """
        self._check(images)
        masked = any(isinstance(one, InternalClassifier) and one.reads_mask for one in self.internal_classifiers)
        mask = padding_mask(images) if masked else None
        first = images if isinstance(images, Tensor) or not self.inputs else images[self.inputs[0].name]
        return Entered(self._laid_out(first_of(first)), by_name(images), mask)

    def _check(self, images: Inputs) -> None:
        """Refuse inputs by other names, and images of another size where a number was fixed by the example's."""
        names = [spec.name for spec in self.inputs]
        if not isinstance(images, Tensor):
            if names and sorted(images) != sorted(names):
                raise DataError(f"Expected inputs by the names {', '.join(names)}, got {', '.join(images) or 'none'}")
        elif self.fixed_size and images.shape[1:] != self.inputs[0].shape:
            raise DataError(
                f"Expected images of {tuple(self.inputs[0].shape)}, since forward makes a Python number of their size, "
                f"got {tuple(images.shape[1:])}"
            )

    def internal_outputs(self, images: Inputs) -> list[Tensor]:
        """What each internal classifier reads, E-1 tensors; the last stage is not run."""
        x, inputs, _ = self.entering(images)
        outputs = []
        for stage in self.stages[:-1]:
            x = stage(self.backbone, x, inputs)
            outputs.append(x)
        return outputs

    def summaries(self, images: Inputs) -> list[Tensor]:
        """What `InternalClassifier.summarise` makes of each internal classifier's input, E-1 tensors (N, P, F)."""
        mask = self.entering(images).mask
        classifiers = cast("Sequence[InternalClassifier]", self.internal_classifiers)
        return [one.summarise(x, mask) for one, x in zip(classifiers, self.internal_outputs(images), strict=True)]

    def stage_outputs(self, images: Inputs) -> tuple[list[Tensor], Tensor]:
        """What each internal classifier reads, E-1 tensors, and the final logits (N, C)."""
        outputs = self.internal_outputs(images)
        x, inputs, _ = self.entering(images)
        return outputs, self.stages[-1](self.backbone, outputs[-1] if outputs else x, inputs)

    def channels_last(self) -> Self:
        """Lay maps out channels last, which is faster, if the backbone runs so: ``x.view(...)`` of a map may not."""
        self.contiguous = False
        self.to(memory_format=torch.channels_last)
        like = next((parameter for parameter in self.parameters()), None)
        if len(self.inputs) != 1 or len(self.inputs[0].shape) != len(("C", "H", "W")) or like is None:
            return self
        example = torch.zeros(2, *self.inputs[0].shape, dtype=like.dtype, device=like.device)
        try:
            with torch.no_grad(), evaluating(self):
                self(example.contiguous(memory_format=torch.channels_last))
        except RuntimeError:
            self.to(memory_format=torch.contiguous_format)
            self.contiguous = True
        return self

    def _laid_out(self, images: Tensor) -> Tensor:
        return images.contiguous() if self.contiguous else images

    def freeze_backbone(self) -> Self:
        """Fix the backbone wholly: no gradients, and eval mode whatever mode the network is put in.

        The authors' code leaves BatchNorm and dropout of the "frozen" backbone in train mode, which moves its
        statistics; here its final logits stay as they are, bit for bit.
        """
        self.frozen = True
        self.backbone.requires_grad_(requires_grad=False)
        return self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all parts; a frozen backbone stays in eval mode."""
        super().train(mode)
        if self.frozen:
            self.backbone.eval()
        return self

    def to_backbone(self) -> nn.Module:
        """A copy of the backbone, of its original class, with its own state-dict names, modes and ``requires_grad``."""
        return copied(self.backbone)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy; see `copied` for layers whose weights are computed."""
        for module in self.modules():
            memo |= computed_in(module)
        network = self.__new__(type(self))
        memo[id(self)] = network
        network.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return network
