import type { Outbound } from '../../platform/index.ts';

/** An audit record on its way out. */
export interface AuditLine {
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** In canonical JSON. */
  readonly body: string;
  /** Its place in the hash chain. */
  readonly hash: string;
}

/** A record that the other side will never take, whatever is tried. */
export interface Refusal {
  readonly seq: number;
  readonly reason: string;
}

/** One delivery to one sink: what it opened is used by `send` and given up by `close`. */
export interface Sink {
  /** Resolves when the other side has acknowledged all but those it gives back as refused. Rejects with a SinkError or OutboundError. */
  send(records: readonly AuditLine[]): Promise<readonly Refusal[]>;
  close(): void;
}

export interface SinkParts {
  readonly outbound: Outbound;
  readonly signal: AbortSignal;
  now(): number;
  /** How long the other side may take to acknowledge. */
  readonly answerMs: number;
  /** Told of each step, for who looks why it fails. */
  readonly onStep?: ((step: string) => void) | undefined;
}

/** Why records could not be handed over, in words for who runs the registry. */
export class SinkError extends Error {
  override name = 'SinkError';
}

/** The record with its hash, as one JSON object. */
export function withHash({ body, hash }: AuditLine): string {
  return `${body.slice(0, -1)},"hash":${JSON.stringify(hash)}}`;
}

/** What the other side says, fit to be shown: short and of visible characters. */
export function shown(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200);
}
