import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Provider } from 'oidc-provider';
import { vi } from 'vitest';
import { atEnd } from './at-end.ts';

export const CLIENT = { id: 'entrepot', secret: 'a secret of the client, long enough' };

/** An OpenID provider of this test alone, which logs in whom it is told to, and asks nothing. */
export interface IdentityProvider {
  readonly issuer: string;
  /** Claims of who logs in next. */
  person: Record<string, unknown> & { sub: string };
  /** Codes that were redeemed, and where the browser was sent to log out. */
  readonly requests: string[];
  stop(): Promise<void>;
}

interface GrantContext {
  readonly oidc: {
    readonly provider: { Grant: new (of: object) => { addOIDCScope(scope: string): void; save(): Promise<string> } };
    readonly client: { readonly clientId: string };
    readonly session: { readonly accountId: string };
  };
}

/** Starts a real provider (oidc-provider) that knows the registry at `url` by one provider name. */
export async function startIdentityProvider(url: string, name: string): Promise<IdentityProvider> {
  for (const level of ['info', 'warn'] as const) vi.spyOn(console, level).mockImplementation(() => undefined); // it warns that it is set up for a test
  const server = createServer();
  const issuer = await listenOn(server);
  const self: { person: IdentityProvider['person'] } = { person: { sub: 'nobody' } };
  const requests: string[] = [];
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: CLIENT.id,
        client_secret: CLIENT.secret,
        redirect_uris: [`${url}/api/v1/oidc/${name}/callback`],
        post_logout_redirect_uris: [`${url}/`],
      },
    ],
    claims: { openid: ['sub'], profile: ['name', 'preferred_username', 'groups'], email: ['email', 'email_verified'] },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    findAccount: (_: unknown, id: string) => ({ accountId: id, claims: async () => ({ ...self.person, sub: id }) }),
    async loadExistingGrant(context: GrantContext) {
      const grant = new context.oidc.provider.Grant({ clientId: context.oidc.client.clientId, accountId: context.oidc.session.accountId });
      grant.addOIDCScope('openid profile email');
      await grant.save();
      return grant;
    },
    cookies: { keys: ['test'] },
  });
  const handle = provider.callback();
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    requests.push(`${request.method} ${request.url}`);
    if (!request.url?.startsWith('/interaction/')) return void handle(request, response);
    const login = { accountId: self.person.sub };
    provider.interactionFinished(request, response, { login }).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  return Object.assign(self, { issuer, requests, stop: () => close(server) });
}

async function listenOn(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  atEnd(() => close(server));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function close(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
}

/** Cookies of a browser for one site, by name. */
class Jar {
  readonly #cookies = new Map<string, string>();
  take(answer: Response): void {
    for (const set of answer.headers.getSetCookie()) {
      const [pair = ''] = set.split(';', 1);
      const [name = '', value = ''] = pair.split('=', 2);
      if (value === '' || /max-age=0|expires=Thu, 01 Jan 1970/i.test(set)) this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
  }
  get header(): string {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  }
}

/** A browser that follows redirects between sites, and keeps the cookies of each. */
export class Surfer {
  readonly #jars = new Map<string, Jar>();

  jar(url: string): Jar {
    const { origin } = new URL(url);
    const jar = this.#jars.get(origin) ?? new Jar();
    this.#jars.set(origin, jar);
    return jar;
  }

  async get(url: string): Promise<Response> {
    return await this.send('GET', url);
  }

  async send(method: string, url: string, body?: unknown): Promise<Response> {
    const cookie = this.jar(url).header;
    const answer = await fetch(url, {
      method,
      redirect: 'manual',
      headers: {
        ...(cookie === '' ? {} : { cookie }),
        ...(method === 'GET' ? {} : { origin: new URL(url).origin, 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    this.jar(url).take(answer);
    return answer;
  }

  /** Follows redirects until an address that `stop` knows, which is not visited; gives it, or the last answer. */
  async follow(url: string, stop: (url: string) => boolean): Promise<{ url: string; answer: Response | undefined }> {
    let at = url;
    for (let hops = 0; hops < 12; hops++) {
      if (stop(at)) return { url: at, answer: undefined };
      const answer = await this.get(at);
      const location = answer.headers.get('location');
      if (location === null) return { url: at, answer };
      await answer.body?.cancel();
      at = new URL(location, at).href;
    }
    throw new Error(`it goes on and on at ${at}`);
  }
}
