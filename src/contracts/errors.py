"""Every error that lambdafit raises on purpose: numbered, with what to do about it.

The first digit says where to look: 1 what was asked, 2 what a run computed or stored, 3 the home and the run
store, 4 the engine and its functions, 5 limits that were set for a run. `docs/errors.md` explains each one; a
test holds that page complete. Those of a stack in AWS are in `contracts.stack_errors`; `contracts.error_catalogue`
has them all.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

EXIT_RUN_FAILED = 1
EXIT_CONFIGURATION = 3
EXIT_BUDGET = 5


class ErrorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it is stored in a run or sent between functions."""

    number: str
    name: str
    message: str
    advice: str
    retryable: bool
    exit_code: int

    def __str__(self) -> str:
        return f"{self.number} {self.name}: {self.message}\n{self.advice}"


class LambdafitError(Exception):
    """Base of all numbered errors.

    Args:
        where: the run, round, worker, file or option concerned.
        received: what was found there.
        expected: what would have been right; empty where "received" says it all.
        advice: what to do; defaults to the class's own.
    """

    number: ClassVar[str]
    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = EXIT_CONFIGURATION
    advice: ClassVar[str]

    def __init__(self, where: str, received: str, expected: str = "", *, advice: str = "") -> None:
        self.message = f"{where}: {received}" + (f", expected {expected}" if expected else "") + "."
        self.advice_given = advice or self.advice
        super().__init__(str(self.record()))

    def record(self) -> ErrorRecord:
        """This error as data."""
        return ErrorRecord(
            number=self.number,
            name=type(self).__name__,
            message=self.message,
            advice=self.advice_given,
            retryable=self.retryable,
            exit_code=self.exit_code,
        )


# --- 1: what was asked -------------------------------------------------------------------------------------


class UnknownRecipe(LambdafitError):
    number = "E101"
    advice = "`lambdafit recipes` lists the built-in ones; a path to a .py file that defines `recipe` works too."


class InvalidSetting(LambdafitError):
    number = "E102"
    advice = "`lambdafit train --help` explains each option and its range."


class TooManyWorkers(LambdafitError):
    number = "E103"
    advice = "Every worker needs at least one example in every round: use fewer workers."


class RecipeFailed(LambdafitError):
    number = "E104"
    advice = "The recipe's own code raised this. Mend the recipe; `--debug` shows the traceback."


class DataNotFound(LambdafitError):
    number = "E105"
    advice = "Put the files there, or connect to the network so that they can be downloaded."


class DataCorrupted(LambdafitError):
    number = "E106"
    advice = "Delete the file and fetch it again; nothing of it was used."


class InvalidImage(LambdafitError):
    number = "E107"
    advice = "Give a picture (PNG, JPEG, WebP or BMP) of the size that the message names."


class InvalidRunId(LambdafitError):
    number = "E108"
    advice = "A run is named by its id, the beginning of one, or `latest`; `lambdafit runs list` shows them."


class InvalidMessage(LambdafitError):
    number = "E109"
    advice = "The folder `events/` holds one valid sample of each message."


class NotResumable(LambdafitError):
    number = "E110"
    advice = "Only an interrupted, failed, stopped or budget-stopped run can go on; start a new one."


class ReadOnly(LambdafitError):
    number = "E111"
    advice = "Use the command line, or start the dashboard without --read-only."


class CommandHung(LambdafitError):
    number = "E112"
    retryable = True
    advice = "It was ended. Try again, or run the same command in a terminal, where it shows what it waits for."


class WeightsNotFound(LambdafitError):
    number = "E113"
    advice = "Name the file of weights (`--set weights=PATH`), or connect to the network so that it can be downloaded."


class WeightsUnfit(LambdafitError):
    number = "E114"
    advice = "Name a file of weights that Keras has saved of this very backbone; a damaged one is to be fetched again."


# --- 2: what a run computed or stored ----------------------------------------------------------------------


class NotFinite(LambdafitError):
    number = "E201"
    exit_code = EXIT_RUN_FAILED
    advice = "The last good checkpoint is kept. Lower the learning rate, or look at the data of that worker."


class TornFile(LambdafitError):
    number = "E202"
    retryable = True
    exit_code = EXIT_RUN_FAILED
    advice = "The file does not hold what its report said. It is computed again where that is possible."


class ShapeMismatch(LambdafitError):
    number = "E203"
    exit_code = EXIT_RUN_FAILED
    advice = "Was the recipe changed mid-run? Start a new run."


class NoExamples(LambdafitError):
    number = "E204"
    exit_code = EXIT_RUN_FAILED
    advice = "No worker saw an example in this round: the data set is empty or too small."


class CodeChanged(LambdafitError):
    number = "E205"
    advice = "A run goes on with the code it began with. Check out that version, or start a new run."


class ModelNotReady(LambdafitError):
    number = "E206"
    advice = "The run has no parameters yet: wait for its first round, or resume it."


# --- 3: the home and the run store -------------------------------------------------------------------------


class HomeInUse(LambdafitError):
    number = "E301"
    advice = "Wait for it, stop it, or name another folder in LAMBDAFIT_HOME."


class HomeNotWritable(LambdafitError):
    number = "E302"
    advice = "Name a folder that you may write to in LAMBDAFIT_HOME."


class DiskFull(LambdafitError):
    number = "E303"
    exit_code = EXIT_RUN_FAILED
    advice = "Free some space (`lambdafit runs rm` removes old runs), then `lambdafit runs resume latest`."


class RunNotFound(LambdafitError):
    number = "E304"
    advice = "`lambdafit runs list` shows the runs in this home."


class RunExists(LambdafitError):
    number = "E305"
    advice = "Start again; run ids are drawn at random."


class StoreCorrupted(LambdafitError):
    number = "E306"
    advice = "Move the home aside and restore it from a backup, or begin with an empty one."


class StoreBusy(LambdafitError):
    number = "E307"
    retryable = True
    advice = "Another program holds the run store's lock for long. Close it, then resume the run."


# --- 4: the engine and its functions -----------------------------------------------------------------------


class InvocationFailed(LambdafitError):
    number = "E401"
    retryable = True
    exit_code = EXIT_RUN_FAILED
    advice = "`lambdafit logs RUN` shows what the function printed."


class TimedOut(LambdafitError):
    number = "E402"
    retryable = True
    exit_code = EXIT_RUN_FAILED
    advice = "Raise LAMBDAFIT_TIMEOUT_S, or make a step smaller: not even one fits into the time limit."


class OutOfMemory(LambdafitError):
    number = "E403"
    retryable = True
    exit_code = EXIT_RUN_FAILED
    advice = "Raise LAMBDAFIT_MEMORY_MB, or use a smaller batch or model."


class EnvironmentFailed(LambdafitError):
    number = "E404"
    exit_code = EXIT_RUN_FAILED
    advice = "The function could not start; `lambdafit doctor` checks the installation."


class AttemptsExhausted(LambdafitError):
    number = "E405"
    exit_code = EXIT_RUN_FAILED
    advice = "The last error is named above. Mend its cause, then `lambdafit runs resume`: nothing done is lost."


class TaskFailed(LambdafitError):
    number = "E406"
    retryable = True
    exit_code = EXIT_RUN_FAILED
    advice = "An unexpected error inside a function; `lambdafit logs RUN` has the traceback."


class DashboardNotStarted(LambdafitError):
    number = "E461"
    advice = "`lambdafit dashboard --port 0` takes any free port; --debug shows what the server printed."


# --- 5: limits that were set -------------------------------------------------------------------------------


class BudgetReached(LambdafitError):
    number = "E501"
    exit_code = EXIT_BUDGET
    advice = "The checkpoint is kept: `lambdafit runs resume RUN --max-cost-usd …` goes on from it."


class DeadlinePassed(LambdafitError):
    number = "E502"
    exit_code = EXIT_RUN_FAILED
    advice = "The checkpoint is kept: `lambdafit runs resume RUN --deadline-s …` goes on from it."


class RunCancelled(LambdafitError):
    number = "E503"
    exit_code = EXIT_RUN_FAILED
    advice = "Somebody stopped it; `lambdafit runs resume RUN` goes on from its checkpoint."


# --- the protocol's own refusals: harmless, never shown as a failure ----------------------------------------


class Refused(Exception):
    """A claim or report that came too late or twice. Its sender leaves; nothing has changed."""


def unexpected(error: BaseException, where: str) -> LambdafitError:
    """Any exception as a numbered one: itself where it is one already, else E406."""
    if isinstance(error, LambdafitError):
        return error
    return TaskFailed(where, f"{type(error).__name__}: {error}")
