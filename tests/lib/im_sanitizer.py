"""im_sanitizer -- what the sanitizers wrote while programs ran."""

import os


def leak_check_broke(report):
    """The leak checker itself was hit by a signal, as it now and then is when
    threads end meanwhile: it has said nothing of us."""
    with open(report, errors='replace') as f:
        text = f.read()
    return ('LeakSanitizer has encountered a fatal error' in text
            and 'ERROR: ' not in text and 'runtime error' not in text)


def complaints(folder):
    """What AddressSanitizer and UBSan have said in a folder of logs."""
    texts = []
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if (name.startswith('asan.') and os.path.getsize(path)
                and not leak_check_broke(path)):
            with open(path, errors='replace') as f:
                texts.append('%s: %s' % (name, f.read(2000)))
    return texts
