"""What a run and its worker processes tell each other, and what a run needs of the crew that starts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path
    from queue import SimpleQueue

    from glpn_cli.depth import DepthMap
    from glpn_cli.errors import GLPNError
    from glpn_cli.image.discovery import Source
    from glpn_cli.inference.crews.probe import Probe
    from glpn_cli.inference.facts import PredictorFacts
    from glpn_cli.inference.plan import Task
    from glpn_cli.inference.record import Record
    from glpn_cli.inference.result import Noted
    from glpn_cli.inference.run import RunOptions
    from glpn_cli.settings import OutputSettings, RunSettings
    from glpn_cli.values import EngineChoice

# To a worker


@dataclass(frozen=True, slots=True)
class Measure:
    """Predict an image to choose a color range.

    Attributes:
        image: a file or a URL.
        engine: what computes the network, if the run has chosen it.
    """

    image: Source
    engine: EngineChoice | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """What all leases of a run have in common.

    Attributes:
        output: numbers and colors of the files.
        settings: how much happens at once.
        options: of the run loop, without callbacks that only work in the process of the run.
        folder: the folder of the manifest; None if there is none.
        stem: of the manifest.
        probe: what to check before the first task; None for a worker of the same machine.
        engine: what computes the network, if the run has chosen it.
    """

    output: OutputSettings
    settings: RunSettings
    options: RunOptions
    folder: Path | None
    stem: str
    probe: Probe | None = None
    engine: EngineChoice | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Tasks for a worker.

    Attributes:
        tasks: with their numbers in the run.
    """

    tasks: tuple[tuple[int, Task], ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """There are no more tasks.

    Attributes:
        now: drop those that are leased; what is being written is finished.
    """

    now: bool


# From a worker


@dataclass(frozen=True, slots=True)
class Ready:
    """The network is loaded.

    Attributes:
        facts: of the predictor.
        host: the machine of the worker; empty if it is that of the run.
    """

    facts: PredictorFacts
    host: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """The answer to `Measure`.

    Attributes:
        range_m: nearest and farthest depth, meters; None for an unusable image.
    """

    range_m: tuple[float, float] | None


class Outcome(NamedTuple):
    """What became of a task: a `Result` without what the run knows already.

    There is one for each image, and a tuple is pickled several times as fast as a dataclass with slots.

    Attributes:
        number: of the task.
        record: without its settings.
        error, elapsed_s, facts, depth, noted, entry, files: as in `Result`.
    """

    number: int
    record: Record
    error: GLPNError | None
    elapsed_s: dict[str, float]
    facts: dict[str, Any]
    depth: DepthMap | None
    noted: Noted | None
    entry: Any
    files: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """Results, in the order in which they were finished."""

    outcomes: list[Outcome]


@dataclass(frozen=True, slots=True)
class Note:
    """A message for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Something that ends the run, because it would affect every other image too.

    Attributes:
        error: that a user can fix; None for a bug.
        trace: the traceback.
        host: as in `Ready`.
    """

    error: GLPNError | None
    trace: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """All results have been sent; this is the last message."""


# From the crew


@dataclass(frozen=True, slots=True)
class Died:
    """A worker is gone, and writes nothing any more.

    Attributes:
        reason: the end of a sentence, such as "was killed by SIGKILL".
        is_blameless: whether no image can have caused it, such as the end of a whole machine.
    """

    reason: str
    is_blameless: bool = False


Order: TypeAlias = "Measure | Begin | Lease | Stop"
Event: TypeAlias = "Ready | Measured | Finished | Note | Failed | Ended | Died"


class Crew(Protocol):
    """Starts workers, carries messages, and notices deaths. It knows nothing of tasks.

    Attributes:
        devices: one for each worker that is wanted at the same time.
        name: what they are together, for messages.
        is_spread: whether workers may be on other machines, and must be checked.
        events: what happens, with the number of the worker; any thread may add to it.
    """

    devices: list[str]
    name: str
    is_spread: bool
    events: SimpleQueue[tuple[int, Any]]

    def start(self, number: int, slot: int) -> None:
        """Start a worker; `Ready` or `Died` follows.

        Args:
            number: of the worker; each is used once.
            slot: index of its device.
        """

    def send(self, number: int, order: Order) -> None:
        """Send a message to a worker; does nothing if it is dead."""

    def kill(self, number: int) -> None:
        """End a worker at once."""

    def close(self) -> None:
        """End all workers at once, and wait until they are gone."""
