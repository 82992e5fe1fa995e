/** Aborted by the first signal that asks the command to end; the second ends it as it would anyway. */
export function stopSignal(): AbortSignal {
  const stopped = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => stopped.abort(new Error(`ended by ${name}`)));
  }
  return stopped.signal;
}

const EVERY_MS = 200;

/** Shows how far something came, in one line of a terminal; elsewhere nothing. `end` clears the line. */
export function progressLine(): { show(text: string): void; end(): void } {
  let shown = Number.NEGATIVE_INFINITY;
  return {
    show(text) {
      if (!process.stderr.isTTY || performance.now() - shown < EVERY_MS) return;
      shown = performance.now();
      process.stderr.write(`\r\u001b[K${text}`);
    },
    end() {
      if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
    },
  };
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

/** A number of bytes for people. */
export function sizeOf(bytes: number): string {
  const unit = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), UNITS.length - 1);
  return unit === 0 ? `${bytes} bytes` : `${(bytes / 1024 ** unit).toFixed(1)} ${UNITS[unit]}`;
}

/** A whole number of an option. */
export function wholeNumber(text: string, name: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw new Error(`${name} is ${text}; allowed: a whole number from 1 on`);
  return Number(text);
}
