import { createHmac, randomBytes } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { catalogMigrations } from '../../catalog/index.ts';
import { roomData } from '../../platform/database/testing.ts';
import { auditMigrations, createOutbound, type Database, type Outbound, queriesOf } from '../../platform/index.ts';
import type { Identity } from '../identity.ts';
import { accessMigrations } from '../schema.ts';
import { findSubject } from '../subjects.ts';
import { createIssuerKeys } from './issuer-keys.ts';
import { addRobotKey } from './robot-keys.ts';
import { changeRobot, createRobot, deleteRobot, type Robot, requireRobot } from './robots.ts';
import { machineMigrations } from './schema.ts';
import { changeTrustRule, createTrustRule, deleteTrustRule, type TrustRule } from './trust-rules.ts';
import { createWorkloads, type Workloads } from './workloads.ts';

const store = roomData([...catalogMigrations, ...accessMigrations, ...machineMigrations, ...auditMigrations]);
const ORIGIN = { client: '192.0.2.1', userAgent: 'test', requestId: 'r1' };
const ISSUER = 'https://issuer.example.com';
const AUDIENCE = 'https://registry.example.com';
const START = Date.UTC(2026, 0, 1);
let now = START;
const clock = { now: () => now };
const seconds = () => Math.floor(now / 1000);

const query = queriesOf<{ audit_record: { seq: number; body: string } }>('workloads-test');
const records = query()('records', (db) => db.selectFrom('audit_record').select('body').orderBy('seq'));

let database: Database;
let outbound: Outbound;
let workloads: Workloads;
let robots = 0;

interface Signer {
  readonly jwk: JWK;
  readonly pem: string;
  sign(claims?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>;
}

async function newSigner(alg = 'ES256', kid: string | undefined = 'one', issuer = ISSUER): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), alg, use: 'sig', ...(kid === undefined ? {} : { kid }) };
  return {
    jwk,
    pem: await exportSPKI(publicKey),
    sign: (claims = {}, header = {}) => {
      const all = {
        iss: issuer,
        aud: AUDIENCE,
        sub: 'repo:octo/app',
        repository: 'octo/app',
        iat: seconds(),
        exp: seconds() + 300,
        ...claims,
      };
      return new SignJWT(without(all))
        .setProtectedHeader(without({ alg, kid, ...header }) as { alg: string })
        .sign(privateKey, { crit: { hostile: true } });
    },
  };
}

const without = (value: object) => Object.fromEntries(Object.entries(value).filter(([, part]) => part !== undefined));
const setOf = (...signers: readonly Signer[]) => JSON.stringify({ keys: signers.map(({ jwk }) => jwk) });

async function newRobot(): Promise<Robot> {
  const name = `robot-w${++robots}`;
  return await database.write((tx) =>
    createRobot(tx, { name, projectId: null, description: '', disabled: false, expiresAt: null, by: 'test', now }),
  );
}

async function newRule(robot: Robot, rule: Partial<TrustRule>): Promise<TrustRule> {
  const defaults = {
    name: `rule-${++robots}`,
    issuer: ISSUER,
    audience: AUDIENCE,
    jwks: null,
    condition: 'claims.repository == "octo/app"',
  };
  return await database.write((tx) => createTrustRule(tx, { ...defaults, disabled: false, ...rule, robotId: robot.id, by: 'test', now }));
}

const identify = (token: string, robot?: string) => workloads.identify({ token, robot, origin: ORIGIN, isExchange: true });

async function outcome(token: string, robot?: string): Promise<string> {
  try {
    return (await identify(token, robot))?.subject?.name ?? 'nobody';
  } catch (error) {
    return (error as Error).message;
  }
}

const isVoid = async ({ subject, actor }: Identity) =>
  subject === undefined || (await findSubject(database, { ...subject, credential: actor.credential?.id ?? null }, now)) === undefined;

beforeAll(async () => {
  database = await store.open();
  outbound = createOutbound({ outboundAllow: '127.0.0.1', outboundProxy: '', outboundCaFile: '' });
});
beforeEach(() => {
  now += 3_600_000;
  workloads = createWorkloads({ database, issuers: createIssuerKeys(outbound, () => now), clock });
});
afterAll(async () => {
  await outbound.close();
  await store.remove();
});

describe('a token of a trusted issuer', () => {
  let robot: Robot;
  let rule: TrustRule;
  let signer: Signer;
  beforeEach(async () => {
    robot = await newRobot();
    signer = await newSigner('RS256', 'one', `${ISSUER}/${robot.id}`);
    rule = await newRule(robot, { issuer: `${ISSUER}/${robot.id}`, jwks: setOf(signer) });
  });

  it('proves the robot for ten minutes at the most, and never longer than it lives itself', async () => {
    const identity = await identify(await signer.sign());
    expect(identity).toMatchObject({ subject: { kind: 'robot', id: robot.id }, limits: undefined, until: (seconds() + 300) * 1000 });
    expect((await identify(await signer.sign({ exp: seconds() + 7200 })))?.until).toBe(now + 600_000);
    expect(await identify(await signer.sign(), robot.name)).toMatchObject({ subject: { id: robot.id } });
    expect(await outcome(await signer.sign(), 'robot-other')).toBe('nobody');
  });

  it('leaves a record of the claims that were looked at, and of nothing else', async () => {
    await identify(await signer.sign({ jti: 'j1', secret: 'do not tell' }));
    const last = JSON.parse((await database.all(records, {})).at(-1)?.body ?? '{}') as object;
    expect(last).toMatchObject({
      action: 'token.exchange',
      outcome: 'success',
      actor: { kind: 'robot', name: robot.name, credential: { kind: 'workload', id: `trust:${rule.id}.1` } },
      after: { rule: rule.name, claims: { sub: 'repo:octo/app', aud: AUDIENCE, jti: 'j1', repository: 'octo/app' } },
    });
    expect(JSON.stringify(last)).not.toContain('do not tell');
  });

  it('that comes with every request has one record; one that is refused has one in a while', async () => {
    const count = async () => (await database.all(records, {})).length;
    const token = await signer.sign();
    const before = await count();
    const proof = { scheme: 'basic', name: robot.name, password: token } as const;
    for (let i = 0; i < 3; i++) expect(await workloads.authenticate(proof, ORIGIN)).toMatchObject({ subject: { id: robot.id } });
    expect(await count()).toBe(before + 1);
    for (let i = 0; i < 3; i++) expect(await outcome(await signer.sign({ repository: 'octo/other', n: i }))).toContain('no condition');
    expect(await count()).toBe(before + 2);
    expect((await database.all(records, {})).at(-1)?.body).toContain('"outcome":"denied"');
  });

  it('is void, and what came from it, once the rule is changed, disabled or deleted, or the robot is', async () => {
    const fresh = async () => (await identify(await signer.sign())) ?? expect.unreachable();
    for (const change of [
      () => database.write((tx) => changeTrustRule(tx, rule, { condition: 'claims.repository == "octo/app" && true' })),
      () => database.write((tx) => changeTrustRule(tx, rule, { disabled: true })),
      () => database.write((tx) => changeTrustRule(tx, rule, { disabled: false })),
      () => database.write(async (tx) => changeRobot(tx, await requireRobot(tx, null, robot.id), { disabled: true })),
      () => database.write(async (tx) => changeRobot(tx, await requireRobot(tx, null, robot.id), { disabled: false })),
      () => database.write((tx) => deleteTrustRule(tx, rule.id)),
    ]) {
      const identity = await identify(await signer.sign());
      if (identity) expect(await isVoid(identity)).toBe(false);
      await change();
      if (identity) expect(await isVoid(identity)).toBe(true);
    }
    expect(await outcome(await signer.sign())).toBe('nobody');
    await newRule(robot, { issuer: `${ISSUER}/${robot.id}`, jwks: setOf(signer) });
    const identity = await fresh();
    await database.write((tx) => deleteRobot(tx, robot.id));
    expect([await isVoid(identity), await outcome(await signer.sign())]).toEqual([true, 'nobody']);
  });

  it.each<[string, Record<string, unknown>, Record<string, unknown>]>([
    ['of another repository', { repository: 'octo/other' }, {}],
    ['without the claim', { repository: undefined }, {}],
    ['with a list for the claim', { repository: ['octo/app'] }, {}],
    ['for another audience', { aud: 'https://elsewhere.example.com' }, {}],
    ['for no audience', { aud: undefined }, {}],
    ['with an audience that only begins alike', { aud: `${AUDIENCE}.evil.example` }, {}],
    ['that has expired', { exp: START / 1000 }, {}],
    ['without an end', { exp: undefined }, {}],
    ['without a beginning', { iat: undefined }, {}],
    ['from the future', { iat: 4_000_000_000, exp: 4_000_000_300 }, {}],
    ['that began long ago', { iat: START / 1000 - 200_000 }, {}],
    ['that counts later', { nbf: 4_000_000_000 }, {}],
    ['without a subject', { sub: undefined }, {}],
    ['of another issuer', { iss: 'https://evil.example.com' }, {}],
    ['of an issuer that looks alike', { iss: `${ISSUER}/` }, {}],
    ['of several issuers', { iss: [ISSUER] }, {}],
    ['with another key id', {}, { kid: 'two' }],
    ['with a hostile key id', {}, { kid: '../../keys/master.key' }],
    ['with an unknown critical header', {}, { crit: ['hostile'], hostile: true }],
  ])('%s proves nobody', async (_, claims, header) => {
    const before = await outcome(await signer.sign());
    expect(before).toBe(robot.name);
    expect(await outcome(await signer.sign(claims, header))).not.toBe(robot.name);
  });

  it('A3 is void when signed by another algorithm, with a shared key, with none, or with a key of its own', async () => {
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const claims = { iss: rule.issuer, aud: AUDIENCE, sub: 's', repository: 'octo/app', iat: seconds(), exp: seconds() + 300 };
    const forged = (header: object, sign: (text: string) => string) => {
      const text = `${part(header)}.${part(claims)}`;
      return `${text}.${sign(text)}`;
    };
    const hmac = (key: string | Buffer) => (text: string) => createHmac('sha256', key).update(text).digest('base64url');
    const other = await newSigner('RS256', 'one', rule.issuer);
    const [head = '', body = '', signature = ''] = (await signer.sign()).split('.');
    const tokens = [
      ...['none', 'None', 'NONE', '', undefined].map((alg) => forged({ alg, kid: 'one' }, () => '')),
      forged({ alg: 'none', kid: 'one' }, () => signature),
      forged({ alg: 'HS256', kid: 'one' }, hmac(signer.pem)),
      forged({ alg: 'HS256', kid: 'one' }, hmac(JSON.stringify(signer.jwk))),
      forged({ alg: 'HS256', kid: 'one' }, hmac(Buffer.from(signer.jwk.n ?? '', 'base64url'))),
      forged({ alg: 'HS256', kid: 'one' }, hmac('')),
      forged({ alg: 'RS256', kid: 'one' }, () => randomBytes(256).toString('base64url')),
      forged({ alg: 'RS256', kid: 'one' }, () => Buffer.alloc(256).toString('base64url')),
      forged({ alg: 'PS256', kid: 'one' }, () => signature),
      await other.sign(),
      await other.sign({}, { jwk: other.jwk }),
      await other.sign({}, { jku: 'http://127.0.0.1:9/keys', x5u: 'http://127.0.0.1:9/', x5c: ['AA=='] }),
      await other.sign({}, { kid: undefined }),
      `${head}.${body}.`,
      `${head}.${body}`,
      `${head}.${part({ ...claims, repository: 'octo/app', extra: 1 })}.${signature}`,
      `${part({ alg: 'RS256', kid: 'one', typ: 'x' })}.${body}.${signature}`,
    ];
    for (const token of tokens) expect([token, await outcome(token)]).not.toEqual([token, robot.name]);
    expect(await outcome(`${head}.${body}.${signature}`)).toBe(robot.name);
  });

  it("another robot's rule of the same issuer has its own keys, and none proves the other", async () => {
    const second = await newRobot();
    const forger = await newSigner('RS256', 'one', rule.issuer);
    await newRule(second, { issuer: rule.issuer, jwks: setOf(forger) });
    expect(await outcome(await forger.sign(), robot.name)).toContain('signature is wrong');
    expect(await outcome(await forger.sign())).toBe(second.name);
    expect(await outcome(await signer.sign())).toBe(robot.name);
    expect(await outcome(await signer.sign(), second.name)).toContain('signature is wrong');
  });

  it('that could be several robots proves the one that is named', async () => {
    const second = await newRobot();
    await newRule(second, { issuer: rule.issuer, jwks: setOf(signer) });
    await newRule(second, { issuer: rule.issuer, jwks: setOf(signer), audience: 'another' });
    expect(await outcome(await signer.sign())).toContain('more than one robot');
    expect(await outcome(await signer.sign(), robot.name)).toBe(robot.name);
    expect(await outcome(await signer.sign(), second.name)).toBe(second.name);
  });
});

describe('keys of an issuer', () => {
  let server: Server;
  let issuer: string;
  let requests: string[];
  let answers: Record<string, () => { status?: number; headers?: Record<string, string>; body: string }>;
  beforeEach(async () => {
    requests = [];
    server = createServer((request, response) => {
      requests.push(request.url ?? '');
      const { status = 200, headers = {}, body } = answers[request.url ?? '']?.() ?? { status: 404, body: '' };
      response.writeHead(status, headers).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    await new Promise((resolve) => server.close(resolve));
  });

  const published = (keys: () => readonly Signer[], document: object = {}) => ({
    '/.well-known/openid-configuration': () => ({ body: JSON.stringify({ issuer, jwks_uri: `${issuer}/keys`, ...document }) }),
    '/keys': () => ({ body: setOf(...keys()) }),
  });

  it('are found by discovery, kept, and read again when they rotate, but not for every unknown id', async () => {
    const robot = await newRobot();
    const one = await newSigner('ES256', 'one', issuer);
    const two = await newSigner('EdDSA', 'two', issuer);
    let current = [one];
    answers = published(() => current);
    await newRule(robot, { issuer });
    expect(await outcome(await one.sign())).toBe(robot.name);
    expect(await outcome(await one.sign())).toBe(robot.name);
    expect(requests).toEqual(['/.well-known/openid-configuration', '/keys']);
    current = [two];
    expect(await outcome(await two.sign())).toContain('no key');
    expect(requests).toHaveLength(2); // it was asked a moment ago
    now += 30_000;
    expect(await outcome(await two.sign())).toBe(robot.name);
    expect(await outcome(await one.sign())).toContain('no key');
    expect(requests).toHaveLength(4);
  });

  it('count for an hour while the issuer cannot be reached, and no longer', async () => {
    const robot = await newRobot();
    const signer = await newSigner('ES256', 'one', issuer);
    answers = published(() => [signer]);
    await newRule(robot, { issuer });
    expect(await outcome(await signer.sign())).toBe(robot.name);
    answers = {};
    now += 59 * 60_000;
    expect(await outcome(await signer.sign())).toBe(robot.name);
    now += 60_000;
    await expect(identify(await signer.sign())).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('of another issuer, too many, too large, or led elsewhere, are none', async () => {
    const robot = await newRobot();
    const signer = await newSigner('ES256', 'one', issuer);
    await newRule(robot, { issuer });
    const good = published(() => [signer]);
    const wrong: (typeof answers)[] = [
      published(() => [signer], { issuer: 'https://issuer.example.com' }),
      published(() => [signer], { issuer: `${issuer}/` }),
      published(() => [signer], { jwks_uri: 'file:///etc/passwd' }),
      published(() => [signer], { jwks_uri: 'http://10.0.0.1/keys' }),
      published(() => [signer], { jwks_uri: 7 }),
      published(() => Array.from({ length: 101 }, () => signer)),
      { ...good, '/keys': () => ({ body: JSON.stringify({ keys: [signer.jwk], more: 'x'.repeat(300_000) }) }) },
      { ...good, '/keys': () => ({ status: 302, headers: { Location: `${issuer}/moved` }, body: '' }), '/moved': good['/keys'] },
      { ...good, '/keys': () => ({ status: 500, body: setOf(signer) }) },
      { ...good, '/keys': () => ({ body: '{"keys":[{"kty":"oct","k":"AAAA","kid":"one","alg":"HS256"}]}' }) },
      { ...good, '/keys': () => ({ body: 'null' }) },
      { ...good, '/keys': () => ({ body: '<html>' }) },
    ];
    for (const [index, each] of wrong.entries()) {
      answers = each;
      now += 3_600_000;
      await expect(identify(await signer.sign()), String(index)).rejects.toMatchObject({ code: 'unavailable' });
    }
    answers = good;
    now += 3_600_000;
    expect(await outcome(await signer.sign())).toBe(robot.name);
  });
});

describe('a token that a robot signs itself', () => {
  const audience = 'https://registry.example.com/token';

  async function robotWithKey() {
    const robot = await newRobot();
    const signer = await newSigner('EdDSA', `kid-${robot.id}`, robot.name);
    const { kid: _, ...jwk } = signer.jwk;
    const key = await database.write((tx) =>
      addRobotKey(tx, {
        robotId: robot.id,
        kid: `kid-${robot.id}`,
        jwk: JSON.stringify(jwk),
        audience,
        expiresAt: now + 1_000_000,
        by: 'test',
        now,
      }),
    );
    const sign = (claims: object = {}, header: Record<string, unknown> = {}) =>
      signer.sign({ sub: robot.name, aud: audience, ...claims }, header);
    return { robot, key, sign };
  }

  it('proves that robot, and no other', async () => {
    const one = await robotWithKey();
    const other = await robotWithKey();
    const identity = await identify(await one.sign());
    expect(identity).toMatchObject({
      subject: { id: one.robot.id },
      actor: { credential: { kind: 'workload', id: `file:${one.key.id}` } },
      until: (seconds() + 300) * 1000,
    });
    expect(await outcome(await one.sign(), one.robot.name)).toBe(one.robot.name);
    expect(await outcome(await one.sign(), other.robot.name)).toContain('no key');
    for (const [claims, header] of [
      [{ iss: other.robot.name }, {}],
      [{ sub: other.robot.name }, {}],
      [{ iss: other.robot.name, sub: other.robot.name }, {}],
      [{}, { kid: `kid-${other.robot.id}` }],
      [{}, { kid: undefined }],
      [{ aud: 'https://elsewhere.example.com/token' }, {}],
      [{ exp: seconds() + 3601 }, {}],
      [{ iss: 'robot-' }, {}],
    ] as const) {
      expect(await outcome(await one.sign(claims, header))).toContain('not accepted');
    }
  });

  it('proves nobody once the key has expired', async () => {
    const { robot, sign } = await robotWithKey();
    expect(await outcome(await sign())).toBe(robot.name);
    now += 1_000_000;
    expect(await outcome(await sign())).toContain('not accepted');
  });
});

it('what is no token of an issuer anybody trusts is not looked at', async () => {
  const signer = await newSigner('ES256', 'one', 'https://unknown.example.com');
  for (const text of [
    '',
    'a.b.c',
    'x'.repeat(100_000),
    `${'e30'.repeat(10)}.${'e30'.repeat(10)}.`,
    await signer.sign(),
    `${'A'.repeat(20_000)}.AAAAAAAAAAAA.AA`,
  ]) {
    expect(await outcome(text)).toBe('nobody');
  }
});
