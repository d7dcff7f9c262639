"""search -- the highest rate that passes, in few steps.

Rates are those of a grid, each STEP times the one before.  A rate that passes
is taken to say that all below it pass, too, so the steps are a gallop from the
first guess and then a bisection; MOST bounds them.
"""

STEP = 1.2
MOST = 12


def grid(low, high, step=STEP):
    """From low on, in steps; three digits, as people write rates."""
    rates, rate = [], float(low)
    while rate <= high * 1.0001:
        rates.append(float('%.3g' % rate))
        rate *= step
    return rates


class Search:

    def __init__(self, rates, first, most=MOST):
        self.rates = rates
        self.passed = -1             # the highest that passed
        self.failed = len(rates)     # the lowest that did not
        self.left = most
        self.stride = 1
        self.at = min(range(len(rates)), key=lambda n: abs(rates[n] - first))

    def next(self):
        """The rate to try, or None: it is found, or was tried too often."""
        if self.failed - self.passed <= 1 or self.left == 0:
            return None
        return self.rates[self.at]

    def tell(self, passed):
        self.left -= 1
        if passed:
            self.passed = max(self.passed, self.at)
        else:
            self.failed = min(self.failed, self.at)
        low, high = self.passed, self.failed
        if low < 0:                                    # down, ever faster
            self.at = max(0, self.at - self.stride)
        elif high == len(self.rates):                  # up, ever faster
            self.at = min(high - 1, self.at + self.stride)
        else:
            self.at = (low + high) // 2
            return
        self.stride *= 2
        # One that was tried is not tried again.
        self.at = min(max(self.at, low + 1), high - 1)

    def found(self):
        """(rate, '') or (None, why there is none)."""
        if self.failed - self.passed > 1:
            return None, 'not found within the steps that are allowed'
        if self.passed < 0:
            return None, '%g/s does not pass, nothing below was tried' \
                % self.rates[0]
        if self.failed == len(self.rates):
            return None, '%g/s passes, nothing above was tried' \
                % self.rates[-1]
        return self.rates[self.passed], ''
