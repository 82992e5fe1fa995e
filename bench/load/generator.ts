import { type Job, type Prepared, prepare } from './jobs.ts';

// A process of its own, so that the load neither shares a thread with the server nor with the other side's load.
// Takes a job, says when it is prepared, runs on 'go', gives what came of it.
let prepared: Prepared | undefined;

process.on('message', (message: Job | 'go' | 'stop') => {
  if (message === 'stop') prepared?.stop?.();
  else handle(message).catch((error: unknown) => process.send?.({ error: (error as Error).message }, () => process.exit(1)));
});

async function handle(message: Job | 'go'): Promise<void> {
  if (message !== 'go') {
    prepared = await prepare(message);
    process.send?.({ prepared: true });
  } else if (prepared) {
    const outcome = await prepared.run();
    process.send?.({ outcome }, () => process.exit(0));
  }
}
