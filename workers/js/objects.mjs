// Durable Objects are asked by RPC. Imported by the wasm module.

export function isBound(env, binding) {
  return env[binding] !== undefined;
}

// A promise of what the object of this name answers.
export function ask(env, binding, name, text) {
  return env[binding].getByName(name).ask(text);
}
