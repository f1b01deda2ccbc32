// Durable Objects are asked by RPC. Imported by the wasm module.

export function isBound(env, binding) {
  return env[binding] !== undefined;
}

// A promise of what the object of this name answers; of undefined if it does not within `patience`
// milliseconds.
export async function ask(env, binding, name, text, patience) {
  const { promise: impatience, resolve } = Promise.withResolvers();
  const timer = setTimeout(resolve, patience);
  try {
    return await Promise.race([env[binding].getByName(name).ask(text), impatience]);
  } finally {
    clearTimeout(timer);
  }
}
