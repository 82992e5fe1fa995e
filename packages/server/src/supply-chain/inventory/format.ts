/** Rises whenever layers are to be read again, as when a cataloguer is added or finds more than before. */
export const INVENTORY_FORMAT = 1;

/** Changes of inventories are made one after the other; they need nothing that pushes and pulls hold. */
export const INVENTORY_SCOPE = { durable: false, scope: ['inventory'] } as const;

/** The job that reads one layer; its key is the layer's digest, so that it is read once however many images have it. */
export const READ_LAYER = 'inventory.layer';
