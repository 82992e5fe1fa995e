import { expect } from 'vitest';
import { Ledger } from '../durability/ledger.ts';
import { type Client, imageManifest, sha256 } from '../harness/client.ts';

export interface Load {
  /** Images acknowledged so far. */
  readonly count: () => number;
  /** Statuses that were neither success nor `retry`, and connections that broke. */
  readonly odd: readonly string[];
  /** Longest `Retry-After` of a 503, in seconds; undefined where none came. */
  readonly longest: () => number | undefined;
  /** Ends it and gives what was acknowledged. */
  stop(): Promise<Ledger>;
}

/** Pushes images without end, each step again and again until it is acknowledged. */
export function load(clients: readonly Client[], name: string): Load {
  const ledger = new Ledger();
  const odd: string[] = [];
  let longest: number | undefined;
  let count = 0;
  let ended = false;

  async function until(work: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await work();
        return;
      } catch (error) {
        if (error instanceof TypeError) odd.push(error.cause instanceof Error ? error.cause.message : error.message); // no answer at all
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
  async function send(client: Client, method: string, path: string, options: Parameters<Client['request']>[2], wanted: number) {
    const answer = await client.request(method, path, options);
    if (answer.status === wanted) return answer;
    if (answer.status === 503) longest = Math.max(longest ?? 0, Number(answer.headers.get('retry-after') ?? Number.POSITIVE_INFINITY));
    else odd.push(`${method} ${path}: ${answer.status} ${answer.bytes}`);
    throw new Error('again');
  }
  async function push(client: Client, tag: string): Promise<void> {
    const config = Buffer.from(JSON.stringify({ name, tag }));
    const digest = sha256(config);
    const manifest = Buffer.from(JSON.stringify(imageManifest(config, [])));
    await until(() =>
      ledger.change('blob', name, digest, config, () =>
        send(client, 'POST', `/v2/${name}/blobs/uploads/?digest=${digest}`, { body: config }, 201),
      ),
    );
    const headers = { 'Content-Type': 'application/vnd.oci.image.manifest.v1+json' };
    await until(() =>
      ledger.change('tag', name, tag, manifest, () =>
        send(client, 'PUT', `/v2/${name}/manifests/${tag}`, { headers, body: manifest }, 201),
      ),
    );
    count++;
  }
  const running = clients.flatMap((client, lane) =>
    [0, 1].map(async (half) => {
      for (let index = 0; !ended; index++) await push(client, `t-${lane}-${half}-${index}`);
    }),
  );
  return {
    count: () => count,
    odd,
    longest: () => longest,
    async stop() {
      ended = true;
      await Promise.all(running);
      return ledger;
    },
  };
}

/** Waits until more is acknowledged. */
export async function goesOn(running: Load, timeout: number): Promise<void> {
  const before = running.count();
  await expect.poll(running.count, { timeout, interval: 50 }).toBeGreaterThan(before + 3);
}
