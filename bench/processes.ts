import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

/** Clock ticks a second in /proc; 100 on every Linux that Node runs on. */
const TICKS = 100;

/** What a server's process and all its descendants use, as Linux counts it. */
export class Processes {
  readonly #root: number;

  constructor(root: number) {
    this.#root = root;
  }

  /** CPU seconds so far, those of ended children included. */
  cpuSeconds(): number {
    let ticks = 0;
    for (const pid of this.#tree())
      ticks += statOf(pid)
        .slice(11, 15)
        .reduce((sum, field) => sum + Number(field), 0);
    return ticks / TICKS;
  }

  /** Peak of resident memory since the last reset, in MiB. */
  peakMiB(): number {
    return this.#memory('VmHWM');
  }

  residentMiB(): number {
    return this.#memory('VmRSS');
  }

  resetPeak(): void {
    for (const pid of this.#tree()) writeFileSync(`/proc/${pid}/clear_refs`, '5');
  }

  #memory(field: string): number {
    let kib = 0;
    for (const pid of this.#tree()) {
      const match = new RegExp(`${field}:\\s+([0-9]+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
      kib += Number(match?.[1] ?? 0);
    }
    return kib / 1024;
  }

  #tree(): number[] {
    const parents = new Map<number, number>();
    for (const entry of readdirSync('/proc')) {
      if (!/^[0-9]+$/.test(entry)) continue;
      try {
        parents.set(Number(entry), Number(statOf(Number(entry))[1]));
      } catch {
        // It ended meanwhile.
      }
    }
    const found = [this.#root];
    for (const pid of found) for (const [child, parent] of parents) if (parent === pid) found.push(child);
    return found;
  }
}

/** The fields of /proc/PID/stat from the third, the state, on: a name in parentheses before may hold anything. */
function statOf(pid: number): string[] {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}
