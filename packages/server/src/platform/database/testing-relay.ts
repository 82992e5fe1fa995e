import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SOCKET = '.s.PGSQL.5432';

/** Folder of the socket that an address of PostgreSQL names. */
const folderIn = (url: string) => new URL(url).searchParams.get('host') ?? '';

/** A way to PostgreSQL that a test can break, slow down and lead elsewhere. */
export class Relay {
  readonly #folder = mkdtempSync(join(tmpdir(), 'entrepot-relay-'));
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #target: string;
  /** Asked of each piece that a client sends: `pass`, `cut` before it arrives, or `deafen`: it arrives, its answer does not. */
  rule: (piece: string) => 'pass' | 'cut' | 'deafen' = () => 'pass';
  cuts = 0;
  /** How long each answer takes longer; milliseconds. */
  delayMs = 0;
  /** Takes everything and answers nothing, also to who connects. */
  isDeaf = false;

  /** To the server of an address, as `Cluster.url` gives it. */
  constructor(url: string) {
    this.#target = join(folderIn(url), SOCKET);
    this.#server = createServer((client) => this.#join(client));
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(join(this.#folder, SOCKET), resolve));
    chmodSync(this.#folder, 0o755);
    return this;
  }

  /** The address of a database, by this way. */
  url(direct: string): string {
    return direct.replace(encodeURIComponent(folderIn(direct)), encodeURIComponent(this.#folder));
  }

  /** From now on to the server of another address; connections that are there stay. */
  leadTo(url: string): void {
    this.#target = join(folderIn(url), SOCKET);
  }

  /** Breaks all connections that are there. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.cutAll();
    this.#server.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #join(client: Socket): void {
    const server = connect(this.#target);
    const end = () => {
      for (const socket of [client, server]) {
        socket.destroy();
        this.#sockets.delete(socket);
      }
    };
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', end).on('close', end);
    }
    client.on('data', (chunk) => this.#take(chunk, client, server));
    server.on('data', (chunk) => this.#answer(chunk, client));
  }

  #take(chunk: Buffer, client: Socket, server: Socket): void {
    const verdict = this.rule(chunk.toString('latin1'));
    if (verdict === 'pass') return void server.write(chunk);
    this.cuts++;
    if (verdict === 'cut') return void client.destroy();
    server.removeAllListeners('data').once('data', () => client.destroy());
    server.write(chunk);
  }

  #answer(chunk: Buffer, client: Socket): void {
    if (this.isDeaf) return;
    if (this.delayMs === 0) return void client.write(chunk);
    setTimeout(() => client.destroyed || client.write(chunk), this.delayMs);
  }
}
