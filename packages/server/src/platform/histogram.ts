import type { Metric } from 'prom-client';

interface Options {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  /** Upper bounds, rising. */
  readonly buckets: readonly number[];
}

interface Child {
  readonly labels: Readonly<Record<string, string>>;
  /** Observations by bucket, the last for those above all bounds. */
  readonly counts: number[];
  sum: number;
}

interface Value {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/**
 * A histogram that prom-client's registry prints, for what is observed at every request: the library's own checks and
 * joins the labels each time, which cost more than finding a tag's manifest.
 */
export class Histogram {
  readonly name: string;
  readonly help: string;
  readonly type = 'histogram';
  readonly aggregator = 'sum';
  readonly labelNames: readonly string[];
  readonly #bounds: readonly number[];
  readonly #children = new Map<string, Child>();

  constructor({ name, help, labelNames, buckets }: Options) {
    this.name = name;
    this.help = help;
    this.labelNames = labelNames;
    this.#bounds = buckets;
  }

  /** Records observations under labels, given in the order of their names. */
  child(...values: readonly string[]): (value: number) => void {
    const key = values.join('\0');
    let child = this.#children.get(key);
    if (child === undefined) {
      const labels = Object.fromEntries(this.labelNames.map((name, index) => [name, values[index] ?? '']));
      child = { labels, counts: Array(this.#bounds.length + 1).fill(0) as number[], sum: 0 };
      this.#children.set(key, child);
    }
    const bounds = this.#bounds;
    const known = child;
    return (value) => {
      let bucket = 0;
      while (bucket < bounds.length && value > (bounds[bucket] ?? 0)) bucket++;
      known.counts[bucket] = (known.counts[bucket] ?? 0) + 1;
      known.sum += value;
    };
  }

  /** What prom-client asks a metric for: buckets that count all up to their bound. */
  get(): Promise<{ name: string; help: string; type: string; aggregator: string; values: Value[] }> {
    const values: Value[] = [];
    for (const { labels, counts, sum } of this.#children.values()) {
      let count = 0;
      for (const [index, own] of counts.entries()) {
        count += own;
        values.push({ metricName: `${this.name}_bucket`, labels: { ...labels, le: this.#bounds[index] ?? '+Inf' }, value: count });
      }
      values.push({ metricName: `${this.name}_sum`, labels, value: sum }, { metricName: `${this.name}_count`, labels, value: count });
    }
    return Promise.resolve({ name: this.name, help: this.help, type: this.type, aggregator: this.aggregator, values });
  }

  /** As the registry's types want it. */
  asMetric(): Metric {
    return this as unknown as Metric;
  }
}
