r"""# Reparameterization and the KL term of a variational autoencoder

Write `reparameterize`, `kl_divergence` and their gradients.

A variational autoencoder's encoder answers with a distribution: a mean mu and, so that any number
is allowed, the logarithm of a variance, logvar = log sigma^2. The code z is drawn from it. A draw
has no gradient; the trick is to draw eps from N(0, 1) elsewhere and to compute

$$z = \mu + \sigma \cdot \epsilon$$

which does have one. The loss keeps the distributions close to a standard normal one:

$$D_{KL}\big(N(\mu, \sigma^2)\,\|\,N(0, 1)\big)
= \frac12 \sum_j \left(\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2\right)$$

**By hand**: mu = (1, -2) and logvar = (0, 0), so sigma = (1, 1). With eps = (3, 1/2):

    z  = (1 + 3, -2 + 1/2) = (4, -3/2)
    KL = 1/2 (1 + 1 - 1 - 0  +  4 + 1 - 1 - 0) = 5/2

With logvar = 2 log 3 (sigma = 3) a mean of 1 and eps = 2 give z = 7.

**Backward.** `reparameterize_backward` gets g = dL/dz and returns dL/dmu and dL/dlogvar (eps is
data). `kl_divergence_backward` gets g = dL/dKL, one number for each code, and returns the same two.
Mind the chain: sigma is e^(logvar / 2).

**Shapes.** mu, logvar, eps and z: (N, D), N codes of D numbers; the divergence: (N,).
"""
from __future__ import annotations

import numpy as np

from tinyvision.exercises.exercise import Case, Exercise, Mistake


def reparameterize(mu, logvar, eps):
    """A code: mu + sigma eps.

    Arguments:
        mu: (N, D) means.
        logvar: (N, D) logarithms of the variances.
        eps: (N, D) noise, drawn from N(0, 1).

    Returns:
        z, (N, D).
    """
    ### BEGIN SOLUTION
    return mu + np.exp(logvar / 2) * eps
    ### END SOLUTION


def reparameterize_backward(g, mu, logvar, eps):
    """Gradients of a loss with respect to mu and logvar of `reparameterize`.

    Arguments:
        g: (N, D) gradient with respect to z.
        mu, logvar, eps: what `reparameterize` was called with.

    Returns:
        (gmu, glogvar), both (N, D).
    """
    ### BEGIN SOLUTION
    return g.copy(), g * eps * np.exp(logvar / 2) / 2
    ### END SOLUTION


def kl_divergence(mu, logvar):
    """KL divergence of N(mu, sigma^2) from N(0, 1), in nats.

    Arguments:
        mu: (N, D) means.
        logvar: (N, D) logarithms of the variances.

    Returns:
        (N,), summed over the D numbers of each code.
    """
    ### BEGIN SOLUTION
    return (mu ** 2 + np.exp(logvar) - 1 - logvar).sum(axis=1) / 2
    ### END SOLUTION


def kl_divergence_backward(g, mu, logvar):
    """Gradients of a loss with respect to the arguments of `kl_divergence`.

    Arguments:
        g: (N,) gradient with respect to the result.
        mu, logvar: what `kl_divergence` was called with.

    Returns:
        (gmu, glogvar), both (N, D).
    """
    ### BEGIN SOLUTION
    g = g[:, None]
    return g * mu, g * (np.exp(logvar) - 1) / 2
    ### END SOLUTION


# ---- mistakes ------------------------------------------------------------------------------------

def _variance_for_sigma(mu, logvar, eps):
    return reparameterize(mu, 2 * logvar, eps)


def _log_for_sigma(mu, logvar, eps):
    return mu + logvar * eps


def _stretched(sigma):
    """The code with another sigma(logvar)."""
    def code(mu, logvar, eps):
        with np.errstate(invalid="ignore"):
            return mu + sigma(logvar) * eps
    return code


def _no_noise(mu, logvar, eps):
    return mu.copy()


def _no_mean(mu, logvar, eps):
    return np.exp(logvar / 2) * eps


def _noise_of_one(mu, logvar, eps):
    return mu + np.exp(logvar / 2)


def _sigma_added(mu, logvar, eps):
    return mu + np.exp(logvar / 2) + eps


def _noise_times_mean(mu, logvar, eps):
    return mu * eps + np.exp(logvar / 2)


def _glogvar(slope):
    """The backward with another slope(logvar, eps) of z by logvar."""
    return lambda g, mu, logvar, eps: (g.copy(), g * slope(logvar, eps))


def _half_forgotten(g, mu, logvar, eps):
    gmu, glogvar = reparameterize_backward(g, mu, logvar, eps)
    return gmu, 2 * glogvar


def _by_sigma(g, mu, logvar, eps):
    return g.copy(), g * eps


def _chain_of_variance(g, mu, logvar, eps):
    return g.copy(), g * eps * np.exp(logvar)


def _noise_forgotten(g, mu, logvar, eps):
    return reparameterize_backward(g, mu, logvar, np.ones_like(eps))


def _first_g_forgotten(g, mu, logvar, eps):
    return reparameterize_backward(np.ones_like(g), mu, logvar, eps)


def _gmu_scaled(g, mu, logvar, eps):
    return g * np.exp(logvar / 2), reparameterize_backward(g, mu, logvar, eps)[1]


def _kl(mu, logvar, axis=1, half=0.5, sign=1.0, one=1.0, variance=np.exp):
    return sign * half * (mu ** 2 + variance(logvar) - one - logvar).sum(axis)


def _kl_mean(mu, logvar):
    return _kl(mu, logvar) / mu.shape[1]


def _kl_half(mu, logvar):
    return _kl(mu, logvar, half=1.0)


def _kl_sign(mu, logvar):
    return _kl(mu, logvar, sign=-1.0)


def _kl_one(mu, logvar):
    return _kl(mu, logvar, one=0.0)


def _kl_sigma(mu, logvar):
    return _kl(mu, logvar, variance=lambda v: np.exp(v / 2))


def _kl_squared_sigma(mu, logvar):
    return _kl(mu, logvar, variance=lambda v: np.exp(2 * v))


def _kl_without(*weights):
    """The divergence with other weights of mu^2, sigma^2, 1 and log sigma^2."""
    def kl(mu, logvar):
        parts = mu ** 2, np.exp(logvar), np.ones_like(mu), logvar
        return sum(weight * part for weight, part in zip(weights, parts)).sum(1) / 2
    return kl


def _kl_one_once(mu, logvar):
    return ((mu ** 2 + np.exp(logvar) - logvar).sum(1) - 1) / 2


def _kl_log_of(variance):
    """What is given taken as something else, of which the logarithm is taken: infinite at 0."""
    def kl(mu, logvar):
        with np.errstate(divide="ignore", invalid="ignore"):
            return (mu ** 2 + variance(logvar) - 1 - np.log(variance(logvar))).sum(1) / 2
    return kl


def _kl_mean_of_codes(mu, logvar):
    return _kl(mu, logvar).mean()


def _kl_mean_of_all(mu, logvar):
    return _kl_mean(mu, logvar).mean()


def _kl_not_summed(mu, logvar):
    return (mu ** 2 + np.exp(logvar) - 1 - logvar) / 2


def _kl_mu_not_squared(mu, logvar):
    return (mu + np.exp(logvar) - 1 - logvar).sum(1) / 2


def _kl_together(mu, logvar):
    return _kl(mu, logvar, axis=None)


def _kl_batch(mu, logvar):
    return _kl(mu, logvar, axis=0)


def _kl_backward(g, gmu, glogvar):
    return g[:, None] * gmu, g[:, None] * glogvar


def _kl_gmu_doubled(g, mu, logvar):
    return _kl_backward(g, 2 * mu, (np.exp(logvar) - 1) / 2)


def _kl_gmu_halved(g, mu, logvar):
    return _kl_backward(g, mu / 2, (np.exp(logvar) - 1) / 2)


def _kl_glogvar_half(g, mu, logvar):
    return _kl_backward(g, mu, np.exp(logvar) - 1)


def _kl_glogvar_one(g, mu, logvar):
    return _kl_backward(g, mu, np.exp(logvar) / 2)


def _kl_glogvar_sigma(g, mu, logvar):
    sigma = np.exp(logvar / 2)
    return _kl_backward(g, mu, sigma - 1 / sigma)


def _kl_glogvar_by_variance(g, mu, logvar):
    return _kl_backward(g, mu, (1 - np.exp(-logvar)) / 2)


def _kl_slope(by_logvar):
    """The backward with another derivative(variance) by logvar."""
    return lambda g, mu, logvar: _kl_backward(g, mu, by_logvar(np.exp(logvar)))


def _kl_divided(axis):
    """The backward of a mean over the codes, or over their numbers."""
    return lambda g, mu, logvar: kl_divergence_backward(g / mu.shape[axis], mu, logvar)


def _kl_g_forgotten(g, mu, logvar):
    return kl_divergence_backward(np.ones_like(g), mu, logvar)


MISTAKES = (
    Mistake("reparameterize", "variance-for-sigma", "You multiply the noise by the variance; which "
            "power of it is sigma?", _variance_for_sigma),
    Mistake("reparameterize", "half-of-variance", "The root of a power halves its exponent, not "
            "the power.", _stretched(lambda logvar: np.exp(logvar) / 2)),
    Mistake("reparameterize", "variance-squared", "sigma is the root of the variance, not its "
            "square.", _stretched(lambda logvar: np.exp(2 * logvar))),
    Mistake("reparameterize", "exponent-turned", "A large logvar means a large variance.",
            _stretched(lambda logvar: np.exp(-logvar / 2))),
    *(Mistake("reparameterize", "log-for-sigma", "The noise is multiplied by the logarithm itself: "
              "how does sigma come out of log sigma^2?", code)
      for code in (_log_for_sigma, _stretched(lambda logvar: logvar / 2))),
    *(Mistake("reparameterize", "logarithm-not-undone", "You take the root of the logarithm. What "
              "undoes a logarithm?", _stretched(sigma))
      for sigma in (np.sqrt, lambda logvar: np.sqrt(np.abs(logvar)))),
    Mistake("reparameterize", "no-noise", "eps is not used: every code is its mean.", _no_noise),
    Mistake("reparameterize", "noise-of-1", "eps is not used: what is stretched by sigma?",
            _noise_of_one),
    Mistake("reparameterize", "no-mean", "The code lies around its mean mu, not around 0.",
            _no_mean),
    Mistake("reparameterize", "sigma-added", "sigma stretches the noise; it is not added to it.",
            _sigma_added),
    Mistake("reparameterize", "noise-times-mean", "The noise belongs to sigma, not to the mean.",
            _noise_times_mean),
    Mistake("reparameterize_backward", "half-forgotten", "sigma is e^(logvar / 2): what is the "
            "inner derivative?", _half_forgotten),
    Mistake("reparameterize_backward", "by-sigma", "This is the gradient with respect to sigma; "
            "the encoder's number is logvar.", _by_sigma),
    Mistake("reparameterize_backward", "by-variance", "This is the gradient with respect to the "
            "variance; the encoder's number is its logarithm.",
            _glogvar(lambda logvar, eps: eps / 2 * np.exp(-logvar / 2))),
    Mistake("reparameterize_backward", "sigma-forgotten", "The derivative of e^(logvar / 2) holds "
            "that power itself.", _glogvar(lambda logvar, eps: eps / 2)),
    *(Mistake("reparameterize_backward", "variance-for-sigma", "Your gradient has the variance "
              "where sigma belongs.", wrong)
      for wrong in (_chain_of_variance, _glogvar(lambda logvar, eps: eps * np.exp(logvar) / 2))),
    *(Mistake("reparameterize_backward", "noise-forgotten", "sigma is multiplied by eps on the way "
              "forward, and so is its gradient.", wrong)
      for wrong in (_noise_forgotten, _glogvar(lambda logvar, eps: np.exp(logvar / 2)))),
    Mistake("reparameterize_backward", "g-forgotten", "The gradient g that comes from above is "
            "missing.", _first_g_forgotten),
    Mistake("reparameterize_backward", "gmu-scaled", "z moves exactly as much as mu does.",
            _gmu_scaled),
    Mistake("kl_divergence", "mean", "You take the mean over a code's numbers; the formula sums "
            "them.", _kl_mean),
    Mistake("kl_divergence", "half-forgotten", "The factor 1/2 is missing.", _kl_half),
    Mistake("kl_divergence", "sign", "A divergence is never negative; this is minus it, as it "
            "stands in the bound that is maximised.", _kl_sign),
    *(Mistake("kl_divergence", "one-forgotten", "N(0, 1) itself must have the divergence 0. How "
              "often is 1 subtracted?", kl)
      for kl in (_kl_one, _kl_one_once, _kl_without(1, 1, 1, -1))),
    Mistake("kl_divergence", "sign-of-the-logarithm", "The logarithm is subtracted: a small "
            "variance costs something, too.", _kl_without(1, 1, -1, 1)),
    Mistake("kl_divergence", "logarithm-forgotten", "The logarithm of the variance is missing.",
            _kl_without(1, 1, -1, 0)),
    Mistake("kl_divergence", "variance-forgotten", "The variance itself is missing; its logarithm "
            "is there.", _kl_without(1, 0, -1, -1)),
    Mistake("kl_divergence", "mean-forgotten", "A code far from 0 costs something: where is mu?",
            _kl_without(0, 1, -1, -1)),
    Mistake("kl_divergence", "sigma-for-variance", "You add sigma; the formula has its square.",
            _kl_sigma),
    Mistake("kl_divergence", "variance-squared", "e^logvar is the variance already.",
            _kl_squared_sigma),
    Mistake("kl_divergence", "logvar-read-as-sigma", "You read logvar as sigma; it is log "
            "sigma^2.", _kl_log_of(np.square)),
    Mistake("kl_divergence", "logvar-read-as-sigma", "You read logvar as sigma; it is log "
            "sigma^2.", _kl_log_of(lambda logvar: logvar ** 2 + 1e-8)),
    Mistake("kl_divergence", "logvar-read-as-variance", "You read logvar as the variance; it is "
            "its logarithm.", _kl_log_of(lambda logvar: logvar)),
    Mistake("kl_divergence", "mu-not-squared", "Which power of mu does the formula have?",
            _kl_mu_not_squared),
    *(Mistake("kl_divergence", "codes-together", "Each code of the batch has a divergence of its "
              "own.", kl) for kl in (_kl_together, _kl_mean_of_codes, _kl_mean_of_all)),
    Mistake("kl_divergence", "not-summed", "The divergence of a code is a sum over its numbers.",
            _kl_not_summed),
    Mistake("kl_divergence", "over-the-batch", "You sum over the codes; the sum runs over the "
            "numbers of one code.", _kl_batch),
    Mistake("kl_divergence_backward", "gmu-doubled", "Half of mu^2 has which derivative?",
            _kl_gmu_doubled),
    Mistake("kl_divergence_backward", "gmu-halved", "mu^2 / 2 has which derivative?",
            _kl_gmu_halved),
    *(Mistake("kl_divergence_backward", "half-forgotten", "The factor 1/2 is missing in "
              "dL/dlogvar, or in a part of it.", wrong)
      for wrong in (_kl_glogvar_half, _kl_slope(lambda variance: variance / 2 - 1),
                    _kl_slope(lambda variance: variance - 0.5))),
    Mistake("kl_divergence_backward", "sign", "Your gradient points the other way: a variance "
            "above 1 should shrink.", _kl_slope(lambda variance: (1 - variance) / 2)),
    Mistake("kl_divergence_backward", "sigma-for-variance", "e^logvar is the variance, and its own "
            "derivative; you have sigma.", _kl_slope(lambda variance: (variance ** 0.5 - 1) / 2)),
    *(Mistake("kl_divergence_backward", "divided", "The divergences are sums, not means.",
              _kl_divided(axis)) for axis in (0, 1)),
    Mistake("kl_divergence_backward", "log-term-forgotten", "- log sigma^2 has a derivative, too: "
            "at variance 1 the gradient is 0.", _kl_glogvar_one),
    Mistake("kl_divergence_backward", "by-sigma", "This is the gradient with respect to sigma; "
            "the encoder's number is logvar.", _kl_glogvar_sigma),
    Mistake("kl_divergence_backward", "by-variance", "This is the gradient with respect to the "
            "variance; the encoder's number is its logarithm.", _kl_glogvar_by_variance),
    Mistake("kl_divergence_backward", "g-forgotten", "Each code's gradient is multiplied by what "
            "comes from above, g of that code.", _kl_g_forgotten),
)


# ---- cases ---------------------------------------------------------------------------------------

def cases(rng):
    """Ten points; see `Exercise.cases`."""
    def integers(*shape):
        return rng.permutation(np.arange(1.0, 5 + np.prod(shape)))[:np.prod(shape)].reshape(shape)

    def normal(*shape):
        return rng.standard_normal(shape) + 0.3

    def noise(*shape):
        return rng.choice([-1, 1], shape) * rng.uniform(0.3, 2, shape)
    return [
        Case("reparameterize", "variance 1", (integers(1, 2), np.zeros((1, 2)), integers(1, 2))),
        Case("reparameterize", "three codes", (normal(3, 5), 2 * normal(3, 5), noise(3, 5))),
        Case("reparameterize_backward", "backward, variance 1",
             (integers(1, 2), integers(1, 2), np.zeros((1, 2)), integers(1, 2))),
        Case("reparameterize_backward", "backward, three codes",
             (noise(3, 5), normal(3, 5), 2 * normal(3, 5), noise(3, 5))),
        Case("kl_divergence", "KL, variance 1", (integers(2, 3), np.zeros((2, 3)))),
        Case("kl_divergence", "KL, mean 0", (np.zeros((3, 1)), noise(3, 1))),
        Case("kl_divergence", "KL, three codes", (normal(3, 5), 2 * normal(3, 5))),
        Case("kl_divergence_backward", "KL backward, variance 1",
             (noise(2), integers(2, 3), np.zeros((2, 3)))),
        Case("kl_divergence_backward", "KL backward, mean 0",
             (noise(3), np.zeros((3, 1)), noise(3, 1))),
        Case("kl_divergence_backward", "KL backward, three codes",
             (noise(3), normal(3, 5), 2 * normal(3, 5))),
    ]


# ---- error bounds --------------------------------------------------------------------------------
# An exponential's relative error is the absolute one of what stands in it.

def _magnitude(mu, logvar, eps):
    return np.abs(mu) + np.exp(logvar / 2) * (1 + np.abs(logvar)) * np.abs(eps)


def _backward_magnitude(g, mu, logvar, eps):
    return np.abs(g), np.abs(g * eps) * np.exp(logvar / 2) * (1 + np.abs(logvar))


def _kl_magnitude(mu, logvar):
    variance = np.exp(logvar) * (1 + np.abs(logvar))
    return (mu ** 2 + variance + 1 + np.abs(logvar)).sum(1) / 2


def _kl_backward_magnitude(g, mu, logvar):
    variance = np.exp(logvar) * (1 + np.abs(logvar))
    return tuple(np.abs(part) for part in _kl_backward(g, mu, (variance + 1) / 2))


FUNCTIONS = {"reparameterize": reparameterize,
             "reparameterize_backward": reparameterize_backward,
             "kl_divergence": kl_divergence, "kl_divergence_backward": kl_divergence_backward}

EXERCISE = Exercise(
    name="vae", title="Reparameterization and the KL term",
    lecture="Kempten L 10.X, Reparameterization Trick", source="tinyvision/models/generate/vae.py",
    functions=FUNCTIONS, cases=cases, mistakes=MISTAKES,
    magnitude={"reparameterize": _magnitude, "reparameterize_backward": _backward_magnitude,
               "kl_divergence": _kl_magnitude, "kl_divergence_backward": _kl_backward_magnitude},
    terms={"reparameterize": lambda *args: 4, "reparameterize_backward": lambda *args: 4,
           "kl_divergence": lambda mu, logvar: 4 * mu.shape[1] + 2,
           "kl_divergence_backward": lambda *args: 4})
