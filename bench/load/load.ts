import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Job, Outcome } from './jobs.ts';

const GENERATOR = fileURLToPath(new URL('./generator.ts', import.meta.url));

type Message = { readonly prepared: true } | { readonly outcome: Outcome } | { readonly error: string };

/** A load in a process of its own. */
export class Load {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Starts the process and resolves when content and connections are ready, before anything is measured. */
  static async prepare(job: Job): Promise<Load> {
    const child = fork(GENERATOR, { execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const load = new Load(child);
    const ready = load.#next();
    child.send(job);
    await ready;
    return load;
  }

  async run(): Promise<Outcome> {
    const answered = this.#next();
    this.#child.send('go');
    const message = await answered;
    if (!('outcome' in message)) throw new Error('a load generator gave no outcome');
    return message.outcome;
  }

  /** Ends a load that has no end of its own; does nothing to one that has ended. */
  stop(): void {
    if (this.#child.connected) this.#child.send('stop', () => undefined); // it may end meanwhile
  }

  #next(): Promise<Message> {
    return new Promise((resolve, reject) => {
      const onExit = (code: number | null) => reject(new Error(`a load generator ended with code ${code}`));
      this.#child.once('exit', onExit);
      this.#child.once('message', (message: Message) => {
        this.#child.off('exit', onExit);
        if ('error' in message) reject(new Error(message.error));
        else resolve(message);
      });
    });
  }
}
