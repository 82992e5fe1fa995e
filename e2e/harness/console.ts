import { type Answer, Client } from './client.ts';

/** A browser that uses the console: it keeps its cookie and says where its pages come from. */
export class Browser {
  readonly #client: Client;
  readonly #origin: string;
  readonly #headers: Readonly<Record<string, string>>;
  cookie = '';

  constructor(url: string, headers: Readonly<Record<string, string>> = {}) {
    this.#client = Client.anonymous(url);
    this.#origin = url;
    this.#headers = headers;
  }

  async request(method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const answer = await this.#client.request(method, `/api/v1${path}`, {
      headers: {
        Origin: this.#origin,
        'Sec-Fetch-Site': 'same-origin',
        ...(this.cookie === '' ? {} : { Cookie: this.cookie }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...this.#headers,
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const [set] = answer.headers.getSetCookie();
    if (set !== undefined) this.cookie = set.includes('Max-Age=0') ? '' : (set.split(';', 1)[0] ?? '');
    return answer;
  }

  /** The same, and it must be answered with one of these statuses. */
  async must(expected: readonly number[], method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await this.request(method, path, body);
    if (!expected.includes(answer.status)) throw new Error(`${method} ${path} answered ${answer.status}: ${answer.bytes}`);
    return answer;
  }

  /** Status of a login. */
  async login(name: string, password: string, more: object = {}): Promise<number> {
    return (await this.request('POST', '/login', { name, password, ...more })).status;
  }

  /** Whether it is logged in. */
  async isIn(): Promise<boolean> {
    return (await this.request('GET', '/session')).status === 200;
  }
}
