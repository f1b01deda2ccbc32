# Varnish as a caching, limiting proxy. Limits come from vsthrottle (Debian package varnish-modules).
vcl 4.1;
import vsthrottle;

backend origin {
    .host = "127.0.0.1";
    .port = "@ORIGIN_PORT@";
}

sub vcl_recv {
    if (req.url ~ "^/pass/") {
        return (pass);
    }
    if (req.url ~ "^/allow/" && vsthrottle.is_denied("allow:" + req.http.x-user, 1000000, 1s)) {
        return (synth(429));
    }
    if (req.url ~ "^/reject/" && vsthrottle.is_denied("reject:" + req.http.x-user, 1, 1h)) {
        return (synth(429));
    }
}
