import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, imageManifest } from '../harness/client.ts';
import { checkInvariants } from '../harness/invariants.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const name = 'demo/app';
const IMAGE = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const MOST = 4 << 20;

const config = Buffer.from('{}');
const sound = JSON.stringify(imageManifest(config, []));
/** A manifest that has one more field, given as JSON text. */
const withField = (text: string) => `${sound.slice(0, -1)},${text}}`;
const many = (count: number, item: (index: number) => string, between = ',') =>
  Array.from({ length: count }, (_, index) => item(index)).join(between);

const HOSTILE: Readonly<Record<string, readonly [body: string, type?: string]>> = {
  'arrays nested two million deep': [withField(`"x":${'['.repeat(2_000_000)}${']'.repeat(2_000_000)}`)],
  'arrays nested and never closed': [withField(`"x":${'['.repeat(MOST - 1000)}`).slice(0, MOST)],
  'objects nested deep': [withField(`"x":${'{"a":'.repeat(600_000)}1${'}'.repeat(600_000)}`)],
  '400,000 keys': [withField(`"x":{${many(400_000, (index) => `"${index.toString(36)}":0`)}}`)],
  '320,000 annotations': [withField(`"annotations":{${many(320_000, (index) => `"${index}":""`)}}`)],
  '130,000 long keys, all spelled with escapes': [
    withField(`"x":{${many(130_000, (index) => `"\\u0061${String(index).padStart(18, 'k')}":0`)}}`),
  ],
  'objects of which each has another shape': [
    withField(`"x":[${many(5000, (row) => `{${many(25, (index) => `"k${(row * 7919 + index * (row + 1)) % 9967}":0`)}}`)}],"layers":[]`),
  ],
  'two million values': [withField(`"x":[${'0,'.repeat(2_000_000)}0]`)],
  'a key twice': [withField(`"x":1,"layers":[]`)],
  'a key twice, one of them escaped': [withField('"l\\u0061yers":[]')],
  'a key twice far down, after many': [withField(`"x":{${many(250_000, (index) => `"${index}":0`)},"7":1}`)],
  'a key in other case': [withField('"Layers":[]')],
  'layers and manifests': [withField('"manifests":[]')],
  'layers and manifests, as an index': [withField('"manifests":[]').replace(IMAGE, INDEX), INDEX],
  'another media type in the head': [sound, INDEX],
  'another media type in the body': [sound.replace(IMAGE, INDEX), IMAGE],
  'no media type that there is': [sound.replace(IMAGE, 'text/html'), 'text/html'],
  'one string of 4 MiB without an end': [withField(`"x":"${'\\\\'.repeat(MOST / 2 - 1000)}`).slice(0, -1)],
  'a string of nothing but quotes': [withField(`"x":"${'\\"'.repeat(MOST / 2 - 1000)}`).slice(0, -1)],
  'a byte order mark': [`\ufeff${sound}`],
  'bytes after the end': [`${sound}{}`],
  'a size that is no number': [sound.replace('"size":2', '"size":"2"')],
  '20,000 descriptors of which the last is wrong': [
    sound.replace(
      '"layers":[]',
      `"layers":[${many(20_000, (index) => JSON.stringify({ mediaType: 'x', digest: `sha256:${index.toString(16).padStart(64, '0')}`, size: 1 }))},{}]`,
    ),
  ],
};

describe('hostile manifests', () => {
  let server: TestServer;
  let client: Client;

  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
    await client.pushBlob(name, config);
    await client.pushManifest(name, 'sound', JSON.parse(sound) as object);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    // None of them left a trace.
    expect(await checkInvariants(server.dataDir)).toEqual({ blobs: 1, manifests: 1, tags: 1 });
  });

  const put = (kind: string) => {
    const [body, type = IMAGE] = HOSTILE[kind] ?? [''];
    return client.request('PUT', `/v2/${name}/manifests/hostile`, { headers: { 'Content-Type': type }, body });
  };

  test.each(Object.keys(HOSTILE))('%s: 400', async (kind) => {
    const answer = await put(kind);
    expect(answer.status, answer.bytes.toString()).toBe(400);
    expect(answer.json()).toMatchObject({ errors: [{ code: 'MANIFEST_INVALID' }] });
    expect(answer.bytes.length).toBeLessThan(1000);
  });

  test('more than the limit: 413', async () => {
    const answer = await client.request('PUT', `/v2/${name}/manifests/hostile`, {
      headers: { 'Content-Type': IMAGE },
      body: withField(`"x":"${'y'.repeat(5 << 20)}"`),
    });
    expect(answer.status).toBe(413);
  });

  // How long they hold the event loop is measured by `npm run bench -- --only hostile`.
  test('all the time: others are answered meanwhile', async () => {
    const costly = Object.keys(HOSTILE).filter((kind) => (HOSTILE[kind]?.[0].length ?? 0) > 100_000);
    expect(costly.length).toBeGreaterThan(8);
    let attacking = true;
    let answered = 0;
    const attack = async () => {
      for (const kind of costly) expect((await put(kind)).status).toBe(400);
    };
    const ordinary = async () => {
      for (; attacking; answered++) {
        expect((await client.request('GET', `/v2/${name}/manifests/sound`)).bytes.toString()).toBe(sound);
      }
    };
    await Promise.all([ordinary(), Promise.all([attack(), attack()]).finally(() => (attacking = false))]);
    expect(answered).toBeGreaterThan(costly.length);
  });
});
