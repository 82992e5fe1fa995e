import { createSign, generateKeyPairSync } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client, errorOf, must } from '../harness/client.ts';
import { type Claims, claimsOf, signed, tokenKey } from '../harness/jwt.ts';
import { type People, populate } from '../harness/people.ts';
import { startServer, type TestServer } from '../harness/server.ts';

const HEADER = { alg: 'HS256', typ: 'access+jwt' };
const scope = 'repository:demo/app:pull,push';

describe('A3 forged tokens', () => {
  let server: TestServer;
  let other: TestServer;
  let keys: Server;
  let people: People;
  let token: string;
  let refresh: string;
  let claims: Claims;
  let key: Uint8Array;
  let keysAsked = 0;

  beforeAll(async () => {
    [server, other] = await Promise.all([startServer(), startServer()]);
    const town = { users: ['alice'], projects: { demo: { members: { alice: 'developer' } } } };
    people = await populate(server, town);
    token = (await people.bearer('alice', scope)).slice(7);
    refresh = (await must(people.client('alice'), [200], 'GET', '/token?offline_token=true')).json<{ refresh_token: string }>()
      .refresh_token;
    claims = claimsOf(token);
    key = tokenKey(server);
    keys = createServer((_, response) => {
      keysAsked++;
      response.end();
    });
    await new Promise<void>((resolve) => keys.listen(0, '127.0.0.1', resolve));
  });
  afterAll(async () => {
    keys.close();
    expect(keysAsked).toBe(0);
    expect(await Promise.all([server.stop(), other.stop()])).toEqual([0, 0]);
  });

  const present = (forged: string) => new Client(server.url, `Bearer ${forged}`).request('POST', '/v2/demo/app/blobs/uploads/');
  const renew = (forged: string) =>
    Client.anonymous(server.url).request('POST', '/token', {
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: String(new URLSearchParams({ grant_type: 'refresh_token', refresh_token: forged, scope })),
    });
  const isRefused = async (forged: string) => {
    for (const answer of [await present(forged), await renew(forged)]) {
      expect([answer.status, errorOf(answer).code]).toEqual([401, 'UNAUTHORIZED']);
    }
  };
  const now = () => Math.floor(Date.now() / 1000);
  /** As the registry itself would sign it. */
  const genuine = (change: object, header: object = HEADER) => signed(header as Claims, { ...claims, ...change }, key);

  test('A3 the means to forge are right: what is signed as the registry does is taken', async () => {
    expect((await present(token)).status).toBe(202);
    expect((await present(genuine({}))).status).toBe(202);
    expect((await renew(refresh)).status).toBe(200);
  });

  test('A3 no algorithm, in every spelling, with any signature', async () => {
    const [, payload = '', signature = ''] = token.split('.');
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '', 'null', null, 0, ['HS256'], undefined]) {
      const header = Buffer.from(JSON.stringify({ ...HEADER, alg })).toString('base64url');
      for (const end of ['', signature, 'AA']) await isRefused(`${header}.${payload}.${end}`);
    }
    await isRefused(`${Buffer.from(JSON.stringify({ alg: 'none', typ: 'access+jwt' })).toString('base64url')}.${payload}`);
  });

  test('A3 keys that everybody knows', async () => {
    const guessed = [
      '',
      ' ',
      'entrepot',
      'secret',
      'changeme',
      'tokens',
      'entrepot:tokens',
      '\0'.repeat(32),
      server.url,
      claims.iss as string,
    ];
    for (const guess of [...guessed, new Uint8Array(32), new Uint8Array(64)]) await isRefused(signed(HEADER, claims, guess));
  });

  test('A3 the right key with another algorithm of its kind', async () => {
    for (const [alg, hash] of [
      ['HS384', 'sha384'],
      ['HS512', 'sha512'],
      ['HS1', 'sha1'],
      ['HS256', 'sha512'],
      ['hs256', 'sha256'],
      ['HS512', 'sha256'],
    ] as const) {
      await isRefused(signed({ ...HEADER, alg }, claims, key, hash));
    }
  });

  test('A3 a key of the forger: in the header, linked from it, named by it, or instead of the secret', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const jwk = publicKey.export({ format: 'jwk' });
    const pem = publicKey.export({ format: 'pem', type: 'spki' }).toString();
    const link = `http://127.0.0.1:${(keys.address() as AddressInfo).port}/keys`;
    const headers: Claims[] = [
      { ...HEADER, alg: 'RS256' },
      { ...HEADER, alg: 'RS256', jwk },
      { ...HEADER, alg: 'RS256', jku: link, kid: '1' },
      { ...HEADER, alg: 'RS256', x5u: link },
      { ...HEADER, alg: 'RS256', x5c: [Buffer.from(pem).toString('base64')] },
      ...['../../../dev/null', '/dev/null', 'keys/master.key', "' OR '1'='1", '\0', 'x'.repeat(3000)].map((kid) => ({
        ...HEADER,
        alg: 'RS256',
        kid,
      })),
    ];
    for (const header of headers) {
      const text = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
      await isRefused(`${text}.${createSign('RSA-SHA256').update(text).sign(privateKey).toString('base64url')}`);
      // The same, with a secret where the public key was expected.
      for (const secret of [pem, JSON.stringify(jwk), '']) await isRefused(signed({ ...header, alg: 'HS256' }, claims, secret));
    }
    const oct = { kty: 'oct', k: Buffer.from('mine').toString('base64url') };
    await isRefused(signed({ ...HEADER, jwk: oct }, claims, 'mine'));
    await isRefused(signed({ ...HEADER, kid: '/dev/null' }, claims, ''));
  });

  test('A3 a signature that is changed, cut, empty or of other text', async () => {
    const [header = '', payload = '', signature = ''] = token.split('.');
    const flipped = Buffer.from(signature, 'base64url').map((byte, index) => (index === 0 ? byte ^ 1 : byte));
    const more = Buffer.from(
      JSON.stringify({ ...claims, access: [{ type: 'repository', name: '*', actions: ['pull', 'push', 'delete'] }] }),
    );
    for (const forged of [
      `${header}.${payload}.${Buffer.from(flipped).toString('base64url')}`,
      `${header}.${payload}.${signature.slice(0, -4)}`,
      `${header}.${payload}.${Buffer.alloc(32).toString('base64url')}`,
      `${header}.${payload}.`,
      `${header}.${payload}`,
      `${header}.${more.toString('base64url')}.${signature}`,
      `${header}.${payload}.${signature}.${signature}`,
      `.${payload}.${signature}`,
      `${header}..${signature}`,
      '..',
      '.',
      '',
      'x'.repeat(9000),
      `${token},${token}`,
    ]) {
      await isRefused(forged);
    }
  });

  test('A3 headers that ask for what the registry does not know', async () => {
    for (const header of [
      { ...HEADER, crit: ['x-unknown'], 'x-unknown': true },
      { ...HEADER, crit: [] },
      { ...HEADER, crit: 'exp' },
      { ...HEADER, b64: false, crit: ['b64'] },
      { ...HEADER, zip: 'DEF', crit: ['zip'] },
      { alg: 'HS256' },
      { ...HEADER, typ: 'JWT' },
      { ...HEADER, typ: 'access' },
      { ...HEADER, typ: 'refresh+jwt' },
      { ...HEADER, typ: ['access+jwt'] },
    ]) {
      await isRefused(genuine({}, header));
    }
    for (const header of ['', '{', '[]', 'null', '"HS256"', '{"alg":"HS256"', '{"alg":"none","alg":"HS256","typ":"access+jwt"}x']) {
      await isRefused(signed(header, claims, key));
    }
  });

  test('A3 times: none, over, not yet, or of a kind that does not compare', async () => {
    for (const change of [
      { exp: undefined },
      { iat: undefined },
      { sub: undefined },
      { exp: now() - 1 },
      { exp: 0 },
      { exp: -1 },
      { exp: String(now() + 600) },
      { exp: null },
      { exp: [now() + 600] },
      { exp: true },
      { nbf: now() + 600 },
      { nbf: 'yesterday' },
      { iat: now() + 600, exp: now() + 900 },
      { iat: 'now' },
    ]) {
      await isRefused(genuine(change));
    }
  });

  test('A3 of another service, issuer or purpose', async () => {
    for (const change of [
      { aud: 'refresh' },
      { aud: 'other' },
      { aud: [] },
      { aud: undefined },
      { aud: ['other', 'refresh'] },
      { iss: 'other' },
      { iss: undefined },
      { iss: ['entrepot'] },
    ]) {
      await isRefused(genuine(change));
    }
  });

  test('A3 a refresh token is no access token, nor the other way round', async () => {
    expect((await present(refresh)).status).toBe(401);
    expect((await renew(token)).status).toBe(401);
    expect((await must(new Client(server.url, `Bearer ${refresh}`), [401], 'GET', '/token')).bytes.toString()).not.toContain('eyJ');
  });

  test('A3 of another install, made for a user of the same name and number', async () => {
    const there = await populate(other, { users: ['alice'], projects: { demo: { members: { alice: 'developer' } } } });
    const foreign = (await there.bearer('alice', scope)).slice(7);
    expect(claimsOf(foreign)).toMatchObject({ sub: claims.sub, access: claims.access });
    await isRefused(foreign);
  });

  test('A3 a user who is not: deleted, never was, or no number', async () => {
    for (const sub of ['999', '0.5', '-1', 'alice', '', '1e999', '__proto__', null, { id: 1 }]) {
      const { status } = await present(genuine({ sub }));
      expect({ sub, status }).toEqual({ sub, status: 401 });
    }
    for (const gen of [0, 99, '1', undefined, null]) expect((await present(genuine({ gen }))).status).toBe(401);
  });
});
