import { AppError, type Outbound, OutboundError } from '../../platform/index.ts';
import { personOf } from './claims.ts';
import { LdapError, openDirectory } from './ldap.ts';
import { complete } from './ldap-logins.ts';
import { discover, OIDC_TIMEOUT_MS, outboundFetch, reasonOf } from './oidc.ts';
import { mapPerson, type Person } from './person.ts';
import type { LdapSettings, OidcSettings, ProviderSettings } from './settings.ts';

/** One step of a test, and how it went. Never holds a secret. */
export interface TestStep {
  readonly step: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface ProviderTest {
  readonly ok: boolean;
  readonly steps: readonly TestStep[];
}

/** Whose login is tried: a name and, for a directory, a password; or, for OpenID Connect, claims as the provider would give them. */
export interface Sample {
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly claims?: object | undefined;
}

interface Parts {
  readonly outbound: Outbound;
  /** Calls go through a proxy, so that nothing is known of the way there. */
  readonly isProxied: boolean;
}

/** Ends a test at the step that failed. */
class Failed extends Error {}

/** Tries a provider step by step. Nobody is let in, and nothing is changed. */
export async function testProvider(
  parts: Parts,
  settings: ProviderSettings,
  secret: string | undefined,
  sample: Sample,
): Promise<ProviderTest> {
  const steps: TestStep[] = [];
  const trace = async <T>(step: string, work: () => Promise<T>, detail: (value: T) => string): Promise<T> => {
    try {
      const value = await work();
      steps.push({ step, ok: true, detail: detail(value) });
      return value;
    } catch (error) {
      steps.push({ step, ok: false, detail: plain(error) });
      throw new Failed();
    }
  };
  try {
    if (settings.kind === 'oidc') await testOidc(parts, settings, secret, sample, trace);
    else await testLdap(parts, settings, secret, sample, trace);
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
  }
  return { ok: steps.every(({ ok }) => ok), steps };
}

type Trace = <T>(step: string, work: () => Promise<T>, detail: (value: T) => string) => Promise<T>;

async function testOidc(
  { outbound, isProxied }: Parts,
  settings: OidcSettings,
  secret: string | undefined,
  { claims }: Sample,
  trace: Trace,
) {
  const { hostname, port, protocol } = new URL(settings.issuer);
  const isSecure = protocol === 'https:';
  const host = hostname.replace(/^\[|\]$/g, '');
  if (!isProxied)
    await connectStep(trace, outbound, { host, port: Number(port) || (isSecure ? 443 : 80), ...(isSecure ? { tls: {} } : {}) });
  const configuration = await trace(
    'discovery',
    () => discover(outbound, { settings, secret }),
    () => 'the issuer is who it says',
  );
  const server = configuration.serverMetadata();
  await trace(
    'endpoints',
    async () => {
      if (!server.authorization_endpoint || !server.token_endpoint) throw new TypeError('there is no authorization or token endpoint');
      const methods = server.code_challenge_methods_supported;
      if (methods && !methods.includes('S256')) throw new TypeError('the provider does not support PKCE with S256');
      return server.end_session_endpoint ? 'with logout' : 'without logout';
    },
    (logout) => `authorization, token, ${logout}`,
  );
  const fetch = outboundFetch(outbound);
  const call = { body: null, headers: { accept: 'application/json' }, method: 'GET', redirect: 'manual' as const };
  await trace(
    'keys',
    async () => {
      const response = await fetch(server.jwks_uri ?? '', { ...call, signal: AbortSignal.timeout(OIDC_TIMEOUT_MS) });
      const found = (await response.json().catch(() => undefined)) as { keys?: unknown } | undefined;
      if (!Array.isArray(found?.keys) || found.keys.length === 0) throw new TypeError('the provider publishes no keys');
      return found.keys.length;
    },
    (count) => `${count} found`,
  );
  await trace(
    'client',
    () => tryClient(configuration),
    (detail) => detail,
  );
  if (claims) await mappingStep(trace, settings, async () => personOf(settings, { sub: 'sample', ...claims }));
}

/** Redeems a code that is none: whether the provider then complains of the code or of the client says whether it knows the client. */
async function tryClient(configuration: Awaited<ReturnType<typeof discover>>): Promise<string> {
  const oidc = await import('openid-client');
  try {
    await oidc.genericGrantRequest(configuration, 'authorization_code', {
      code: oidc.randomState(),
      redirect_uri: 'https://localhost/none',
      code_verifier: oidc.randomPKCECodeVerifier(),
    });
    return 'known';
  } catch (error) {
    const code = reasonOf(error);
    if (code === 'invalid_grant') return 'the provider knows the client and its secret';
    if (code === 'invalid_client' || code === 'unauthorized_client')
      throw new TypeError('the provider does not accept the client or its secret');
    throw error;
  }
}

async function testLdap({ outbound }: Parts, settings: LdapSettings, secret: string | undefined, { user, password }: Sample, trace: Trace) {
  const { host, port, security, serverName, ca } = settings;
  const signal = AbortSignal.timeout(30_000);
  await connectStep(trace, outbound, { host, port, signal, ...(security === 'ldaps' ? { tls: { serverName, ca } } : {}) });
  const directory = await trace(
    security === 'starttls' ? 'starttls and bind' : 'bind',
    () => openDirectory(outbound, { settings, secret }, { signal }),
    () => (settings.bindDn === undefined ? 'anonymous' : `as ${settings.bindDn}`),
  );
  try {
    if (user === undefined) return;
    const found = await trace(
      'search',
      async () => {
        const entry = await directory.find(user);
        if (!entry) throw new LdapError('no entry has this name below userBase');
        return entry;
      },
      ({ dn }) => dn,
    );
    if (password !== undefined) {
      await trace(
        'user bind',
        async () => {
          if (!(await directory.check(found.dn, password))) throw new LdapError('the password is wrong');
        },
        () => 'the password is right',
      );
    }
    const person = await trace(
      'groups',
      () => complete(directory, found, user),
      ({ groups }) => (groups.length === 0 ? 'none' : groups.join(', ')),
    );
    await mappingStep(trace, settings, async () => person);
  } finally {
    directory.close();
  }
}

async function connectStep(trace: Trace, outbound: Outbound, target: Parameters<Outbound['connect']>[0]): Promise<void> {
  const told: string[] = [];
  const socket = await trace(
    'connect',
    () => outbound.connect({ ...target, onStep: (step) => told.push(step) }),
    () => told.join('; '),
  );
  socket.on('error', () => undefined).destroy();
}

async function mappingStep(trace: Trace, settings: ProviderSettings, find: () => Promise<Person>): Promise<void> {
  await trace(
    'mapping',
    async () => {
      const mapped = mapPerson(settings, await find());
      if (mapped.account === undefined) throw new TypeError('the name can be nobody’s here; an administrator must link a user');
      return mapped;
    },
    ({ account, groups, isAdmin }) =>
      `user ${account}${groups.length > 0 ? `, groups ${groups.join(', ')}` : ', no groups'}${isAdmin ? ', administers the system' : ''}`,
  );
}

function plain(error: unknown): string {
  if (error instanceof AppError || error instanceof LdapError || error instanceof OutboundError) return error.message;
  return reasonOf(error);
}
