import { randomBytes } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { tar } from './clients/images.ts';
import { Client, must, type PushedImage, sha256 } from './harness/client.ts';
import { checkInvariants } from './harness/invariants.ts';
import { startServer, type TestServer } from './harness/server.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const EMPTY = 'application/vnd.oci.empty.v1+json';
const EMPTY_BYTES = Buffer.from('{}');

/** The smallest module that does something: it exports `answer`, which gives 42. */
const MODULE = Buffer.from('0061736d0100000001050160' + '00017f030201000' + '70a0106616e73776572' + '00000a0601040041' + '2a0b', 'hex');

interface Content {
  readonly type: string;
  readonly bytes: Buffer;
  readonly title?: string;
}

interface Artifact {
  readonly config: Content;
  readonly layers: readonly Content[];
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly subject?: PushedImage;
}

describe('artifacts that are no images, by plain requests', () => {
  let server: TestServer;
  let client: Client;
  beforeAll(async () => {
    server = await startServer();
    client = new Client(server.url);
  });
  afterAll(async () => {
    expect(await server.stop()).toBe(0);
    await checkInvariants(server.dataDir);
  });

  const descriptor = ({ type, bytes, title }: Content) => ({
    mediaType: type,
    digest: sha256(bytes),
    size: bytes.length,
    ...(title === undefined ? {} : { annotations: { 'org.opencontainers.image.title': title } }),
  });

  const push = async (name: string, reference: string, { config, layers, artifactType, annotations, subject }: Artifact) => {
    for (const { bytes } of [config, ...layers]) await client.pushBlob(name, bytes);
    const about = subject && { mediaType: MANIFEST, digest: subject.digest, size: subject.bytes.length };
    return await client.pushManifest(name, reference, {
      schemaVersion: 2,
      mediaType: MANIFEST,
      ...(artifactType === undefined ? {} : { artifactType }),
      config: descriptor(config),
      layers: layers.map(descriptor),
      ...(about === undefined ? {} : { subject: about }),
      ...(annotations === undefined ? {} : { annotations }),
    });
  };

  /** Pulls an artifact as its clients do, and gives what its config and layers hold. */
  const pull = async (name: string, reference: string, pushed: PushedImage) => {
    const { headers, bytes } = await must(client, [200], 'GET', `/v2/${name}/manifests/${reference}`, { headers: { Accept: MANIFEST } });
    expect(bytes.equals(pushed.bytes)).toBe(true);
    expect(headers.get('content-type')).toBe(MANIFEST);
    expect(headers.get('docker-content-digest')).toBe(pushed.digest);
    const { config, layers } = JSON.parse(bytes.toString()) as { config: { digest: string }; layers: { digest: string }[] };
    const contents: Buffer[] = [];
    for (const { digest } of [config, ...layers]) {
      const blob = await must(client, [200], 'GET', `/v2/${name}/blobs/${digest}`);
      expect(sha256(blob.bytes)).toBe(digest);
      contents.push(blob.bytes);
    }
    return contents;
  };

  test('a Helm chart with its provenance', async () => {
    const metadata = { apiVersion: 'v2', name: 'demo', version: '0.1.0+build.1', appVersion: '1.0', type: 'application' };
    const template = 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  word: {{ .Values.word }}\n';
    const files = {
      'demo/Chart.yaml': Buffer.from(`${JSON.stringify(metadata)}\n`), // JSON is YAML
      'demo/values.yaml': Buffer.from(`word: ${randomBytes(8).toString('hex')}\n`),
      'demo/templates/configmap.yaml': Buffer.from(template),
    };
    const chart = gzipSync(tar(files));
    const pushed = await push('charts/demo', '0.1.0_build.1', {
      config: { type: 'application/vnd.cncf.helm.config.v1+json', bytes: Buffer.from(JSON.stringify(metadata)) },
      layers: [
        { type: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip', bytes: chart },
        { type: 'application/vnd.cncf.helm.chart.provenance.v1.prov', bytes: Buffer.from('-----BEGIN PGP SIGNED MESSAGE-----\n') },
      ],
      annotations: { 'org.opencontainers.image.title': 'demo', 'org.opencontainers.image.version': metadata.version },
    });
    const [config, content] = await pull('charts/demo', '0.1.0_build.1', pushed);
    expect(JSON.parse(String(config))).toEqual(metadata);
    expect(gunzipSync(content ?? '').equals(tar(files))).toBe(true);
    const listed = await must(client, [200], 'GET', '/v2/charts/demo/tags/list');
    expect(listed.json()).toEqual({ name: 'charts/demo', tags: ['0.1.0_build.1'] });
  });

  test.each([
    ['application/vnd.wasm.config.v0+json', 'application/wasm'],
    ['application/vnd.wasm.config.v1+json', 'application/vnd.wasm.content.layer.v1+wasm'],
  ])('a Wasm module as %s', async (configType, layerType) => {
    const config = { created: '2024-01-01T00:00:00Z', architecture: 'wasm', os: 'wasip1', layerDigests: [sha256(MODULE)] };
    const pushed = await push('wasm/answer', '1.0', {
      config: { type: configType, bytes: Buffer.from(JSON.stringify(config)) },
      layers: [{ type: layerType, bytes: MODULE, title: 'answer.wasm' }],
    });
    const [, module] = await pull('wasm/answer', '1.0', pushed);
    expect(await answerOf(module ?? Buffer.alloc(0))).toBe(42);
  });

  test('artifacts with an empty config that refer to an image, and to each other', async () => {
    const name = 'oras/app';
    const empty: Content = { type: EMPTY, bytes: EMPTY_BYTES };
    const image = await client.pushImage(name, '1');
    const sbom = await push(name, 'sbom', {
      artifactType: 'application/spdx+json',
      config: empty,
      layers: [{ type: 'application/spdx+json', bytes: Buffer.from('{"spdxVersion":"SPDX-2.3"}'), title: 'sbom.json' }],
      subject: image,
      annotations: { 'org.example.by': 'a scanner' },
    });
    // Nothing but annotations: the empty content is its only layer, too.
    const note = await push(name, 'note', {
      artifactType: 'application/vnd.example.note',
      config: empty,
      layers: [empty],
      subject: image,
    });
    const signature = await push(name, 'signature', {
      artifactType: 'application/vnd.example.signature',
      config: empty,
      layers: [{ type: 'application/octet-stream', bytes: randomBytes(64) }],
      subject: sbom,
    });
    for (const [reference, artifact] of Object.entries({ sbom, note, signature })) await pull(name, reference, artifact);

    const entry = (artifact: PushedImage, artifactType: string, more: object = {}) => ({
      mediaType: MANIFEST,
      digest: artifact.digest,
      size: artifact.bytes.length,
      artifactType,
      ...more,
    });
    const sbomEntry = entry(sbom, 'application/spdx+json', { annotations: { 'org.example.by': 'a scanner' } });
    const noteEntry = entry(note, 'application/vnd.example.note');
    const referrers = async (digest: string, query = '') => {
      const answer = await must(client, [200], 'GET', `/v2/${name}/referrers/${digest}${query}`);
      return { filtered: answer.headers.get('oci-filters-applied'), manifests: answer.json<{ manifests: unknown[] }>().manifests };
    };
    const both = await referrers(image.digest);
    expect(both.manifests).toHaveLength(2);
    expect(both.manifests).toEqual(expect.arrayContaining([sbomEntry, noteEntry]));
    const filter = `?artifactType=${encodeURIComponent('application/spdx+json')}`;
    expect(await referrers(image.digest, filter)).toEqual({ filtered: 'artifactType', manifests: [sbomEntry] });
    const signatures = [entry(signature, 'application/vnd.example.signature')];
    expect((await referrers(sbom.digest)).manifests).toEqual(signatures);
    expect((await referrers(signature.digest)).manifests).toEqual([]);
    // Clients without the referrers API read the same from a tag.
    const fallback = await must(client, [200], 'GET', `/v2/${name}/manifests/${sbom.digest.replace(':', '-')}`);
    expect(fallback.json<{ manifests: unknown[] }>().manifests).toEqual(signatures);

    await must(client, [202], 'DELETE', `/v2/${name}/manifests/${note.digest}`);
    expect((await referrers(image.digest)).manifests).toEqual([sbomEntry]);
  });

  test('an artifact before its subject is there, which the answer confirms', async () => {
    const name = 'oras/early';
    await client.pushBlob(name, EMPTY_BYTES);
    const subject = { mediaType: MANIFEST, digest: sha256('a manifest nobody pushed yet'), size: 28 };
    const content = descriptor({ type: EMPTY, bytes: EMPTY_BYTES });
    const body = JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      artifactType: 'a/b',
      config: content,
      layers: [content],
      subject,
    });
    const answer = await must(client, [201], 'PUT', `/v2/${name}/manifests/early`, { headers: { 'Content-Type': MANIFEST }, body });
    expect(answer.headers.get('oci-subject')).toBe(subject.digest);
    const listed = await must(client, [200], 'GET', `/v2/${name}/referrers/${subject.digest}`);
    expect(listed.json<{ manifests: { digest: string }[] }>().manifests.map(({ digest }) => digest)).toEqual([sha256(body)]);
  });
});

/** What the types of Node leave out. */
declare const WebAssembly: { instantiate(bytes: Uint8Array): Promise<{ instance: { exports: { answer(): number } } }> };

async function answerOf(module: Buffer): Promise<number> {
  return (await WebAssembly.instantiate(module)).instance.exports.answer();
}
