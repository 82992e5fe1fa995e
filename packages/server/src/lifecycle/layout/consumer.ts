import { isDigest, isTag } from '@entrepot/oci';
import type { OutboxConsumer } from '../../platform/index.ts';
import { type LayoutParts, removeRepositoryFiles, writeManifestFiles, writeTagFiles } from './files.ts';
import { fillRepository } from './fill.ts';

type Payload = Readonly<Record<string, unknown>>;

/**
 * Keeps the files of registry:2 as the catalogue is. An event says only what to look at: the files become what the catalogue
 * says by then, so that an event that comes twice, or late, does no harm, and the last one leaves everything right. Manifests
 * come before tags, as they are announced so.
 */
export function layoutConsumer(parts: LayoutParts): OutboxConsumer {
  return {
    name: 'layout',
    async handle({ topic, repository, payload }) {
      if (topic === 'repository.deleted') return await removeRepositoryFiles(parts, repository);
      if (topic === 'repository.restored') return await fillRepository(parts, repository);
      if (!/^(manifest|tag)\./.test(topic)) return;
      const { digest, previous, tag, tags } = (payload ?? {}) as Payload;
      const digests = [digest, previous].filter((value) => typeof value === 'string' && isDigest(value)) as string[];
      const names = [tag, ...(Array.isArray(tags) ? (tags as unknown[]) : [])].filter((name) => typeof name === 'string' && isTag(name));
      if (topic.startsWith('manifest.'))
        for (const found of digests) await writeManifestFiles(parts, repository, found, { remove: topic === 'manifest.deleted' });
      for (const name of names as string[]) await writeTagFiles(parts, repository, name, digests);
    },
  };
}
