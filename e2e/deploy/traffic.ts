import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { sha256 } from '../harness/client.ts';
import { ADMIN } from '../harness/server.ts';

const BASIC = `Basic ${Buffer.from(`${ADMIN.user}:${ADMIN.password}`).toString('base64')}`;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const TRIES = 100;
const ANSWERS_WITHIN_MS = 10_000;

interface Answer {
  readonly status: number;
  readonly bytes: Buffer;
  readonly location: string;
}

/** What was promised to a client, to be asked for again. */
interface Promised {
  readonly path: string;
  readonly bytes: Buffer;
}

export interface Trouble {
  readonly at: number;
  readonly what: string;
}

/**
 * Clients that push small images and pull what was pushed before, until stopped. As real ones they come again after 503 and
 * after a connection that broke; any other answer that is not the right one is trouble, and so is each broken connection.
 */
export class Traffic {
  readonly #url: string;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[];
  readonly promised: Promised[] = [];
  /** Answers other than the right one or 503, and connections that broke. */
  readonly trouble: Trouble[] = [];
  /** Times of right answers to pushes of manifests. */
  readonly pushes: number[] = [];
  retried = 0;

  constructor(url: string, clients: number) {
    this.#url = url;
    this.#running = Array.from({ length: clients }, (_, index) => this.#work(`demo/app${index}`));
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  /** Asks for all that was promised; gives what is not there as it was. */
  async lost(): Promise<string[]> {
    const missing: string[] = [];
    for (const { path, bytes } of this.promised) {
      const found = await this.#send('GET', path, 200);
      if (!found?.bytes.equals(bytes)) missing.push(path);
    }
    return missing;
  }

  async #work(name: string): Promise<void> {
    for (let number = 0; !this.#stop.signal.aborted; number++) {
      const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', nonce: randomBytes(8).toString('hex') }));
      const layer = randomBytes(2000);
      let whole = true;
      for (const blob of [config, layer]) whole = whole && (await this.#pushBlob(name, blob));
      if (!whole) continue;
      const descriptor = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: sha256(bytes), size: bytes.length });
      const manifest = Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          mediaType: MANIFEST,
          config: descriptor('application/vnd.oci.image.config.v1+json', config),
          layers: [descriptor('application/vnd.oci.image.layer.v1.tar', layer)],
        }),
      );
      const path = `/v2/${name}/manifests/t${number}`;
      if (!(await this.#send('PUT', path, 201, manifest, MANIFEST))) continue;
      this.pushes.push(Date.now());
      this.promised.push({ path, bytes: manifest }, { path: `/v2/${name}/blobs/${sha256(layer)}`, bytes: layer });
      const before = this.promised[Math.floor(Math.random() * this.promised.length)];
      const found = before && (await this.#send('GET', before.path, 200));
      if (found && !found.bytes.equals(before.bytes)) this.#note(`GET ${before.path}: other bytes`);
      await delay(20);
    }
  }

  /** POST at one instance, PUT maybe at another. */
  async #pushBlob(name: string, bytes: Buffer): Promise<boolean> {
    const begun = await this.#send('POST', `/v2/${name}/blobs/uploads/`, 202);
    if (!begun) return false;
    const place = `${begun.location}${begun.location.includes('?') ? '&' : '?'}digest=${sha256(bytes)}`;
    return (await this.#send('PUT', place, 201, bytes)) !== undefined;
  }

  async #send(
    method: 'GET' | 'POST' | 'PUT',
    path: string,
    right: number,
    body?: Buffer,
    type = 'application/octet-stream',
  ): Promise<Answer | undefined> {
    for (let attempt = 0; attempt < TRIES; attempt++) {
      try {
        const headers = { authorization: BASIC, 'content-type': type };
        const response = await fetch(new URL(path, this.#url), {
          method,
          headers,
          body: body ?? null,
          signal: AbortSignal.timeout(ANSWERS_WITHIN_MS),
        });
        const bytes = Buffer.from(await response.arrayBuffer());
        if (response.status === right) return { status: right, bytes, location: response.headers.get('location') ?? '' };
        if (response.status !== 503) return this.#note(`${method} ${path}: ${response.status} ${bytes.toString('utf8', 0, 200)}`);
      } catch (error) {
        this.#note(`${method} ${path}: ${String((error as { cause?: { code?: unknown } }).cause?.code ?? error)}`);
      }
      this.retried++;
      await delay(100);
    }
    return this.#note(`${method} ${path}: still 503 after ${TRIES} tries`);
  }

  #note(what: string): undefined {
    this.trouble.push({ at: Date.now(), what });
    return undefined;
  }
}
