import { startWorker } from "/work/main/tests/edge/harness.mjs";
import { send } from "/work/main/tests/edge/client.mjs";
import { startOrigin } from "/work/main/tests/edge/origin.mjs";
const worker = await startWorker();
const o = await startOrigin((req, res) => {
  if (req.url.startsWith("/cut")) { res.writeHead(200, {"cache-control":"max-age=60",...(req.url=="/cut"?{"content-length":10}:{})}); res.write("12345", () => setTimeout(()=>res.destroy(), 50)); return; }
  if (req.url.startsWith("/long")) { res.writeHead(200, {"cache-control":"max-age=60"}); res.write(Buffer.alloc(60000)); res.end(Buffer.alloc(60000)); return; }
});
await worker.begin(`[origins.a]\nurl="${o.url}"\n[pools.p]\norigins=["a"]\n[cache.c]\nmode="respect"\nbody_bytes_max="100KiB"\n[[routes]]\npool="p"\ncache="c"\n`);
for (const path of ["/cut", "/cut", "/cut2", "/cut2", "/long", "/long"]) {
const r2 = await send(worker.url, path);
console.log(path, r2.status, r2.header("cache-status"), (await r2.text().catch(String)).slice(0,20), await worker.log());
}
await worker.close(); await o.close();
