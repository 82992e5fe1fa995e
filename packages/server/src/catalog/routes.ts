// The room's other face: its route tables, loaded with the management API and not before.
export { artifactRoutes } from './artifact-routes.ts';
export { compareRoutes } from './compare-routes.ts';
export { deletionRoutes } from './deletion-routes.ts';
export { type Place, placeIdOf, placesOf } from './places.ts';
export { repositoryRoutes, type SeenProject } from './repository-routes.ts';
export { tagRoutes } from './tag-routes.ts';
