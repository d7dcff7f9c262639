"""flame -- a flame graph: all stacks of a profile in one picture.

A box is a function, as wide as the samples in which it was on the stack; what
it called stands above it.  The order from left to right is the alphabet's and
means nothing.  Kernel code is blue, all else of warm colours.  A tooltip has
the name and the share.
"""

import html

WIDTH = 1400
ROW = 17
LETTER = 6.6             # of the font, on average
THIN = 0.4               # boxes below are left out


class Box:

    def __init__(self):
        self.count = 0
        self.above = {}


def tree(stacks):
    """stacks: {(outermost, ..., innermost): samples}"""
    root = Box()
    for frames, count in stacks.items():
        box = root
        box.count += count
        for name in frames:
            box = box.above.setdefault(name, Box())
            box.count += count
    return root


def depth(box, scale):
    """Rows of all that is wide enough to be seen."""
    return 1 + max((depth(b, scale) for b in box.above.values()
                    if b.count * scale >= THIN), default=0)


def colour(name):
    shade = sum(ord(c) * (n % 7 + 1) for n, c in enumerate(name)) % 60
    if name.endswith('_[k]'):
        return 'rgb(%d,%d,%d)' % (100 + shade, 150 + shade, 230)
    return 'rgb(%d,%d,%d)' % (225 + shade // 3, 120 + 2 * shade, 60 + shade)


def boxes(name, box, x, row, scale, total):
    """(name, x, row, width, share) of it and of all above."""
    yield name, x, row, box.count * scale, box.count / total
    for inner, b in sorted(box.above.items()):
        if b.count * scale >= THIN:
            yield from boxes(inner, b, x, row + 1, scale, total)
        x += b.count * scale


def label(name, width):
    letters = int((width - 4) / LETTER)
    if letters < 3:
        return ''
    return name if len(name) <= letters else name[:letters - 2] + '..'


def svg(stacks, title):
    root = tree(stacks)
    if not root.count:
        raise ValueError('there is no sample')
    scale = WIDTH / root.count
    rows = depth(root, scale)
    height = (rows + 2) * ROW
    out = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" '
           'viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">'
           % (WIDTH, height, WIDTH, height),
           '<rect width="100%" height="100%" fill="#fff"/>',
           '<text x="4" y="13">%s</text>' % html.escape(title)]
    for name, x, row, width, share in boxes('all', root, 0, 0, scale,
                                            root.count):
        y = height - (row + 1) * ROW
        out.append(
            '<g><title>%s, %.2f %%</title><rect x="%.1f" y="%d" width="%.1f" '
            'height="%d" fill="%s"/><text x="%.1f" y="%d">%s</text></g>' % (
                html.escape(name), 100 * share, x, y, max(width - 0.3, 0.1),
                ROW - 1, colour(name), x + 2, y + 12,
                html.escape(label(name, width))))
    out.append('</svg>')
    return '\n'.join(out) + '\n'
