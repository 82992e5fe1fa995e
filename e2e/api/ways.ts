import { type Answer, begin, type Client, must } from '../harness/client.ts';

/** A way to bring a blob in: gives the last answer, and the session's location where there was one. */
type Way = (client: Client, name: string, bytes: Buffer, digest: string) => Promise<{ answer: Answer; location?: string }>;

/** The bytes as a body of unknown length: it goes out in chunks (RFC 9112 section 7.1). */
export function unmeasured(bytes: Uint8Array, piece = 100_000): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(at, at + piece));
      at += piece;
    },
  });
}

const hint = (digest: string) => `?digest-algorithm=${digest.split(':')[0]}`;

async function inPieces(client: Client, location: string, bytes: Buffer, unit: string): Promise<number> {
  const piece = Math.ceil(bytes.length / 3);
  for (let at = 0; at < 2 * piece && at < bytes.length; at += piece) {
    const body = bytes.subarray(at, at + piece);
    await must(client, [202], 'PATCH', location, { headers: { 'Content-Range': `${unit}${at}-${at + body.length - 1}` }, body });
  }
  return Math.min(2 * piece, bytes.length);
}

/** Every form of upload that the specification knows, and those that clients use besides. */
export const WAYS: Readonly<Record<string, Way>> = {
  'POST, then PUT of known length': async (client, name, bytes, digest) => {
    const location = await begin(client, name);
    return { location, answer: await client.request('PUT', `${location}?digest=${digest}`, { body: bytes }) };
  },
  'POST, then PUT of unknown length': async (client, name, bytes, digest) => {
    const location = await begin(client, name, hint(digest));
    return { location, answer: await client.request('PUT', `${location}?digest=${digest}`, { body: unmeasured(bytes) }) };
  },
  'one POST of known length': async (client, name, bytes, digest) => {
    return { answer: await client.request('POST', `/v2/${name}/blobs/uploads/?digest=${digest}`, { body: bytes }) };
  },
  'one POST of unknown length': async (client, name, bytes, digest) => {
    return { answer: await client.request('POST', `/v2/${name}/blobs/uploads/?digest=${digest}`, { body: unmeasured(bytes) }) };
  },
  'PATCH of known length, then PUT': async (client, name, bytes, digest) => {
    const location = await begin(client, name, hint(digest));
    await must(client, [202], 'PATCH', location, { body: bytes });
    return { location, answer: await client.request('PUT', `${location}?digest=${digest}`) };
  },
  'PATCH of unknown length, then PUT': async (client, name, bytes, digest) => {
    const location = await begin(client, name);
    await must(client, [202], 'PATCH', location, { body: unmeasured(bytes) });
    return { location, answer: await client.request('PUT', `${location}?digest=${digest}`) };
  },
  'chunks, the last with the PUT': async (client, name, bytes, digest) => {
    const location = await begin(client, name, hint(digest));
    const at = await inPieces(client, location, bytes, '');
    const body = bytes.subarray(at);
    const headers: Record<string, string> = body.length > 0 ? { 'Content-Range': `${at}-${bytes.length - 1}` } : {};
    return { location, answer: await client.request('PUT', `${location}?digest=${digest}`, { headers, body }) };
  },
  'chunks that name their unit, then PUT of the rest without a range': async (client, name, bytes, digest) => {
    const location = await begin(client, name);
    const at = await inPieces(client, location, bytes, 'bytes ');
    return { location, answer: await client.request('PUT', `${location}?digest=${digest}`, { body: bytes.subarray(at) }) };
  },
};
