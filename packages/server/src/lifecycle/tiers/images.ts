import { BEFORE_ALL, type Order, type Session } from '../../platform/index.ts';
import { type HotImage, pageOfImages, pageOfPulled } from './image-store.ts';
import { BEFORE_HEAT } from './plan-store.ts';

const CHUNK = 1000;
/** Rows looked at for one page, however few of them are part of it. */
const LOOKED_AT = 20_000;

/** In the order of heat those that nobody pulled are the coldest: a list of its own, by age, before or after the others. */
export type ImagePosition = readonly ['pulled', number, string] | readonly ['never', number, string];

export function firstImage(order: Order): ImagePosition {
  return order === 'asc' ? ['never', 0, ''] : ['pulled', BEFORE_HEAT.desc.score, BEFORE_ALL.desc.text];
}

/** Images of a repository by heat, after a position. A page may hold less than it could, and still go on. */
export async function listImages(
  session: Session,
  { repositoryId, order, from, limit }: { repositoryId: number; order: Order; from: ImagePosition; limit: number },
): Promise<{ readonly images: HotImage[]; readonly next: ImagePosition | undefined }> {
  const images: HotImage[] = [];
  let position: ImagePosition | undefined = from;
  for (let looked = 0; position !== undefined && looked < LOOKED_AT; ) {
    const [list, at, digest]: ImagePosition = position;
    if (list === 'pulled') {
      const rows = await pageOfPulled(session, order, { repositoryId, at, digest, limit: limit - images.length + 1 });
      for (const row of rows) {
        const last = images.at(-1);
        if (images.length === limit) return { images, next: last && positionOf(last) };
        images.push(row);
      }
      looked += rows.length;
      position = order === 'desc' ? ['never', 0, ''] : undefined;
    } else {
      const rows = await pageOfImages(session, repositoryId, at, CHUNK);
      for (const row of rows) {
        if (row.score !== null) continue;
        const last = images.at(-1);
        if (images.length === limit) return { images, next: last && positionOf(last) };
        images.push(row);
      }
      looked += rows.length;
      const last = rows.at(-1);
      position =
        rows.length === CHUNK && last ? ['never', last.id, ''] : order === 'asc' ? ['pulled', BEFORE_HEAT.asc.score, ''] : undefined;
    }
  }
  return { images, next: position };
}

function positionOf({ id, digest, score }: HotImage): ImagePosition {
  return score === null ? ['never', id, ''] : ['pulled', score, digest];
}
