export { type ApiHandler, type ApiParts, createApi, managementSurface } from './api.ts';
export { harborSurface } from './harbor/surface.ts';
