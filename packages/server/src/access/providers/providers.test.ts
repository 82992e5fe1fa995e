import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { AppError, createOutbound, type Outbound } from '../../platform/index.ts';
import { isUserName } from '../users.ts';
import { accountNameOf } from './account-name.ts';
import { nameIn } from './ldap.ts';
import { escapeFilterValue, fillFilter } from './ldap-filter.ts';
import { localTarget } from './login-ticket.ts';
import { createOidc, type Oidc } from './oidc.ts';
import { type OidcSettings, readSettings } from './settings.ts';

test('A10 a value in a filter stays one value, whatever it holds', async () => {
  const { EqualityFilter, FilterParser } = await import('ldapts');
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (value) => {
      fc.pre(value !== '' && Buffer.from(value).toString() === value);
      const parsed = FilterParser.parseString(fillFilter('(uid={user})', { user: value }));
      expect(parsed).toBeInstanceOf(EqualityFilter);
      const { value: found } = parsed as unknown as { value: string };
      expect(Buffer.from(found).equals(Buffer.from(value))).toBe(true);
    }),
  );
  expect(escapeFilterValue('*()\\\0é')).toBe('\\2a\\28\\29\\5c\\00é');
});

test('A9 what a provider calls somebody becomes a user name or none', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.emailAddress()), (given) => {
      const name = accountNameOf(given, 'corp.example');
      expect(name === undefined || isUserName(name)).toBe(true);
      expect(['admin', 'root', 'system']).not.toContain(name);
    }),
  );
  expect(accountNameOf('Ann.Lee@Corp.Example', 'corp.example')).toBe('ann.lee');
  expect(accountNameOf('ann@evil.example', 'corp.example')).toBe('ann-evil.example');
  for (const given of ['Admin', ' admin ', 'ａｄｍｉｎ', '-admin', 'admin@corp.example', 'robot-ci', '', '…', 'a'.repeat(64)])
    expect(accountNameOf(given, 'corp.example')).toBeUndefined();
});

test('A9 a target is a path of this server or none', () => {
  const parts = fc.array(fc.constantFrom('/', '\\', '.', '..', '@', ':', 'evil.example', 'a', '%2f', '\t', '\n', '?', '#', 'http:'), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(
      fc.oneof(
        parts.map((all) => all.join('')),
        fc.webUrl(),
        fc.string(),
      ),
      (target) => {
        const local = localTarget(target);
        if (local !== undefined) expect(new URL(local, 'https://registry.example').origin).toBe('https://registry.example');
      },
    ),
  );
  expect(localTarget('/a/b?c=d#e')).toBe('/a/b?c=d#e');
});

test('the name of a group is read from its distinguished name', () => {
  expect(nameIn('cn=dev,ou=groups')).toBe('dev');
  expect(nameIn('CN=a\\, b\\2c c\\C3\\A9 100%,OU=x')).toBe('a, b, cé 100%');
  expect([nameIn(''), nameIn('cn='), nameIn('cn=\\FF')]).toEqual(['', '', '']);
});

describe('A9 an ID token', () => {
  let server: Server;
  let outbound: Outbound;
  let settings: OidcSettings;
  let oidc: Oidc;
  /** What the provider answers at its token endpoint. */
  let answer: (nonce: string) => Promise<string>;
  let keys: Awaited<ReturnType<typeof generateKeyPair>>;
  let nonce = '';
  const redirect = 'https://registry.example/api/v1/oidc/corp/callback';
  const seconds = () => Math.floor(Date.now() / 1000);
  const claims = (more: object = {}) => ({
    ...{ iss: settings.issuer, aud: 'entrepot', sub: 'u1', nonce, iat: seconds(), exp: seconds() + 60, preferred_username: 'ann' },
    ...more,
  });
  const signed = (more: object = {}, key = keys.privateKey) =>
    new SignJWT(claims(more)).setProtectedHeader({ alg: 'RS256', kid: 'one' }).sign(key);

  beforeAll(async () => {
    keys = await generateKeyPair('RS256');
    const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'one', alg: 'RS256', use: 'sig' };
    server = createServer((request, response) => {
      const issuer = `http://${request.headers.host}`;
      const send = (body: unknown) => response.setHeader('Content-Type', 'application/json').end(JSON.stringify(body));
      if (request.url === '/keys') return send({ keys: [jwk] });
      if (request.url === '/token') {
        return void answer(nonce).then((token) => send({ access_token: 'a', token_type: 'bearer', id_token: token }));
      }
      return send({
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/keys`,
        id_token_signing_alg_values_supported: ['RS256'],
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    settings = (await readSettings({ kind: 'oidc', issuer, clientId: 'entrepot' })) as OidcSettings;
    outbound = createOutbound({ outboundAllow: '127.0.0.1', outboundProxy: '', outboundCaFile: '' });
    oidc = createOidc(outbound, Date.now);
  });
  afterAll(async () => {
    await outbound.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  async function outcome(): Promise<string> {
    const client = { key: '1.1', settings, secret: 'secret' };
    const begun = await oidc.begin(client, redirect);
    nonce = begun.nonce;
    try {
      return (await oidc.finish(client, new URL(`${redirect}?code=c&state=${begun.state}`), begun)).person.name;
    } catch (error) {
      return error instanceof AppError ? error.code : String(error);
    }
  }

  it('of the provider, for this login, says who it is', async () => {
    answer = () => signed();
    expect(await outcome()).toBe('ann');
    answer = () => signed({ iat: seconds() + 20, exp: seconds() - 20 }); // within the leeway
    expect(await outcome()).toBe('ann');
  });

  it.each<[string, () => Promise<string>]>([
    ['of another login', () => signed({ nonce: 'another' })],
    ['of no login', () => signed({ nonce: undefined })],
    ['for another client', () => signed({ aud: 'another' })],
    ['for several clients', () => signed({ aud: ['entrepot', 'another'], azp: 'another' })],
    ['of another issuer', () => signed({ iss: 'https://evil.example' })],
    ['that has expired', () => signed({ exp: seconds() - 600 })],
    ['without an end', () => signed({ exp: undefined })],
    ['without a subject', () => signed({ sub: undefined })],
    ['without a signature', async () => new UnsecuredJWT(claims()).encode()],
    ['signed with another key', async () => signed({}, (await generateKeyPair('RS256')).privateKey)],
    ['signed with the secret', () => new SignJWT(claims()).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from('secret'.repeat(8)))],
    ['that is none', async () => 'x'],
  ])('%s lets nobody in', async (_, make) => {
    answer = make;
    expect(await outcome()).toBe('unauthorized');
  });
});
