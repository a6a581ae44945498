"""Learning-rate schedules. Names, arguments and values are those of `torch.optim.lr_scheduler`.

A schedule is a function of the number of steps made, t: it sets every group's rate from the rate
that the group began with. So it needs no memory but t.
"""
from __future__ import annotations

import bisect
import math
import numbers


class LRScheduler:
    """Sets the rates when it is made, and after every `step()`; subclasses define `factor`.

    Attributes:
        last_epoch: t, the steps made.
        base_lrs: the groups' rates at the beginning.
    """

    def __init__(self, optimizer):
        self.optimizer, self.last_epoch = optimizer, 0
        self.base_lrs = [group["lr"] for group in optimizer.param_groups]
        self._set()

    def factor(self, t: int) -> float:
        """What the first rate is multiplied by after t steps."""
        raise NotImplementedError(f"{type(self).__name__}.factor")

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps of a group that began with `base`."""
        return base * self.factor(t)

    def step(self) -> None:
        """One more step (an epoch or an iteration, as you call it) has been made."""
        self.last_epoch += 1
        self._set()

    def _set(self):
        for group, base in zip(self.optimizer.param_groups, self.base_lrs):
            group["lr"] = self.rate(base, self.last_epoch)

    def get_last_lr(self) -> list:
        """The groups' rates now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict:
        """What is needed to go on."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on from there."""
        self.last_epoch, self.base_lrs = state_dict["last_epoch"], list(state_dict["base_lrs"])
        self._set()


class StepLR(LRScheduler):
    """Times gamma every `step_size` steps."""

    def __init__(self, optimizer, step_size, gamma=0.1):
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def factor(self, t):
        """gamma to the number of milestones passed."""
        return self.gamma ** (t // self.step_size)


class MultiStepLR(LRScheduler):
    """Times gamma at every milestone."""

    def __init__(self, optimizer, milestones, gamma=0.1):
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def factor(self, t):
        """gamma to the number of milestones passed."""
        return self.gamma ** bisect.bisect_right(self.milestones, t)


class LinearLR(LRScheduler):
    """From start_factor to end_factor in a straight line, in `total_iters` steps: a warm-up."""

    def __init__(self, optimizer, start_factor=1 / 3, end_factor=1.0, total_iters=5):
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: got start_factor={start_factor} and end_factor={end_factor},"
                             " expected them in (0, 1] and [0, 1]")
        self.ends, self.total_iters = (start_factor, end_factor), total_iters
        super().__init__(optimizer)

    def factor(self, t):
        """On the line, then its end."""
        first, last = self.ends
        return first + (last - first) * min(t, self.total_iters) / self.total_iters


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the first rate to eta_min, in T_max steps, and back (SGDR, eq. 5)."""

    def __init__(self, optimizer, T_max, eta_min=0.0):
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, base, t):
        """Loshchilov & Hutter 2017, equation 5."""
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class LambdaLR(LRScheduler):
    """Whatever function of t."""

    def __init__(self, optimizer, lr_lambda):
        self.factor = lr_lambda
        super().__init__(optimizer)


class SequentialLR(LRScheduler):
    """One schedule after the other: schedulers[k + 1] begins at milestones[k], at its t = 0."""

    def __init__(self, optimizer, schedulers, milestones):
        if len(schedulers) != len(milestones) + 1:
            raise ValueError(f"SequentialLR: got {len(schedulers)} schedulers and {len(milestones)} "
                             "milestones, expected one milestone between two schedulers")
        self.schedulers, self.milestones = schedulers, milestones
        for group, base in zip(optimizer.param_groups, schedulers[0].base_lrs):
            group["lr"] = base
        super().__init__(optimizer)

    def rate(self, base, t):
        """That of the schedule whose turn it is."""
        turn = bisect.bisect_right(self.milestones, t)
        return self.schedulers[turn].rate(base, t - self.milestones[turn - 1] if turn else t)


class OneCycleLR(LRScheduler):
    """Up to max_lr and down to almost nothing, and the momentum down and up again (Smith & Topin
    2018). Arguments as in PyTorch.

    Args:
        max_lr: the highest rate, of all groups or one each.
        total_steps: of the whole cycle; or else epochs times steps_per_epoch.
        pct_start: the share of the way up.
        anneal_strategy: "cos" (half cosines) or "linear".
        cycle_momentum: whether the momentum (Adam's first beta) changes, too.
        base_momentum, max_momentum: its least, at the highest rate, and its greatest.
        div_factor: the first rate is max_lr / div_factor.
        final_div_factor: the last rate is the first / final_div_factor.
        three_phase: down to the first rate as fast as up, then to the last.

    Raises:
        ValueError: no steps, an unknown strategy, no momentum to change; a step after the last.
    """

    def __init__(self, optimizer, max_lr, total_steps=None, epochs=None, steps_per_epoch=None,
                 pct_start=0.3, anneal_strategy="cos", cycle_momentum=True, base_momentum=0.85,
                 max_momentum=0.95, div_factor=25.0, final_div_factor=1e4, three_phase=False):
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(f'OneCycleLR: anneal_strategy is {anneal_strategy!r}, expected "cos" or '
                             '"linear"')
        self.total_steps = _steps(total_steps, epochs, steps_per_epoch)
        self.linear, self.factors = anneal_strategy == "linear", (div_factor, final_div_factor)
        top, last = float(pct_start * self.total_steps) - 1, self.total_steps - 1
        self.knots = (0, top, 2 * top, last) if three_phase else (0, top, last)
        groups = optimizer.param_groups
        self.momenta = list(zip(*(_for_each(m, groups) for m in (base_momentum, max_momentum))))
        if cycle_momentum and not all(g.keys() & {"momentum", "betas"} for g in groups):
            raise ValueError("OneCycleLR: the optimizer has no momentum; say cycle_momentum=False")
        self.cycle_momentum = cycle_momentum
        for group, high in zip(groups, _for_each(max_lr, groups), strict=True):
            group["lr"] = high
        super().__init__(optimizer)

    def rate(self, base, t):
        """Between the first and the highest rate, then between that and the last."""
        if t >= self.total_steps:
            raise ValueError(f"OneCycleLR: step {t} of a cycle of {self.total_steps} steps")
        first = base / self.factors[0]
        values = first, base, *((first,) if len(self.knots) == 4 else ()), first / self.factors[1]
        return self._along(values, t)

    def momentum(self, least, greatest, t):
        """The momentum after t steps: least where the rate is highest."""
        return self._along((greatest, least, greatest, greatest)[:len(self.knots)], t)

    def _set(self):
        super()._set()
        for group, ends in zip(self.optimizer.param_groups, self.momenta):
            if self.cycle_momentum:
                value = self.momentum(*ends, self.last_epoch)
                group.update({"betas": (value, *group["betas"][1:])} if "betas" in group else
                             {"momentum": value})

    def _along(self, values, t):
        """Between the values at the knots before and after t."""
        k = next((k for k, knot in enumerate(self.knots[1:-1]) if t <= knot), len(self.knots) - 2)
        (left, right), (start, end) = self.knots[k:k + 2], values[k:k + 2]
        share = (t - left) / (right - left) if right != left else 1.0
        if self.linear:
            return start + (end - start) * share
        return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _steps(total_steps, epochs, steps_per_epoch):
    if total_steps is None and None not in (epochs, steps_per_epoch):
        total_steps = epochs * steps_per_epoch
    if not isinstance(total_steps, numbers.Integral) or total_steps < 1:
        raise ValueError(f"OneCycleLR: total_steps is {total_steps}, expected a number of at least "
                         "1, or epochs and steps_per_epoch")
    return total_steps


def _for_each(value, groups):
    """One value for each group."""
    return value if isinstance(value, (list, tuple)) else [value] * len(groups)
