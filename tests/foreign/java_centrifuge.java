// The package `centrifuge-java` from Maven Central, which speaks Protobuf, at two servers that take tokens.

import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.github.centrifugal.centrifuge.Client;
import io.github.centrifugal.centrifuge.ConnectedEvent;
import io.github.centrifugal.centrifuge.ConnectingEvent;
import io.github.centrifugal.centrifuge.ConnectionTokenEvent;
import io.github.centrifugal.centrifuge.ConnectionTokenGetter;
import io.github.centrifugal.centrifuge.DisconnectedEvent;
import io.github.centrifugal.centrifuge.EventListener;
import io.github.centrifugal.centrifuge.HistoryOptions;
import io.github.centrifugal.centrifuge.HistoryResult;
import io.github.centrifugal.centrifuge.Options;
import io.github.centrifugal.centrifuge.PresenceResult;
import io.github.centrifugal.centrifuge.PresenceStatsResult;
import io.github.centrifugal.centrifuge.PublicationEvent;
import io.github.centrifugal.centrifuge.PublishResult;
import io.github.centrifugal.centrifuge.RPCResult;
import io.github.centrifugal.centrifuge.ReplyError;
import io.github.centrifugal.centrifuge.ResultCallback;
import io.github.centrifugal.centrifuge.ServerPublicationEvent;
import io.github.centrifugal.centrifuge.ServerSubscribedEvent;
import io.github.centrifugal.centrifuge.StreamPosition;
import io.github.centrifugal.centrifuge.SubscribedEvent;
import io.github.centrifugal.centrifuge.Subscription;
import io.github.centrifugal.centrifuge.SubscriptionEventListener;
import io.github.centrifugal.centrifuge.TokenCallback;
import io.github.centrifugal.centrifuge.UnsubscribedEvent;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.Base64;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

class JavaCentrifuge {
    interface Check {
        void make(String user) throws Exception;
    }

    static final Map<String, Check> CHECKS = new LinkedHashMap<>();

    static {
        CHECKS.put("a client gets what is pushed to its user at the other server", user -> {
            try (Told told = Told.open(() -> token(user, 600))) {
                push(user, "{\"text\":\"hello\", \"number\":5}");
                told.has("{\"text\":\"hello\", \"number\":5}");
                demand(told.publications.get(0).getChannel().equals("#" + user), told.publications);
            }
        });
        CHECKS.put("what was pushed while its server was dead comes once and in order", user -> {
            try (Told told = Told.open(() -> token(user, 600))) {
                pushLogged(user, "1");
                told.has("1");
                kill(0);
                pushLogged(user, "2");
                pushLogged(user, "3");
                restart(0);
                told.isConnected(2);
                pushLogged(user, "4");
                told.has("1", "2", "3", "4");
                told.stoodIn("#" + user, "false false", "true true");
            }
        });
        CHECKS.put("a client whose position is lost is told so", user -> {
            try (Told told = Told.open(() -> token(user, 600))) {
                pushLogged(user, "1");
                told.has("1");
                kill(0);
                accepted("DELETE", "/v1/users/" + user + "/log", "");
                pushLogged(user, "2");
                restart(0);
                told.isConnected(2);
                told.has("1", "2");
                told.stoodIn("#" + user, "false false", "true false");
            }
        });
        CHECKS.put("a client renews its token and stays", user -> {
            // Of the leeway of 30 s four are left.
            try (Told told = Told.open(() -> token(user, -26))) {
                eventually("it is asked for tokens", () -> told.tokens.get() >= 3);
                push(user, "\"here\"");
                told.has("\"here\"");
                demand(told.connecting.size() == 1, told.connecting);
            }
        });
        CHECKS.put("an expired token is answered so that the client gets a new one", user -> {
            Deque<String> tokens = new ArrayDeque<>(List.of(token(user, -60), token(user, 600)));
            try (Told told = Told.open(tokens::pop)) {
                demand(told.tokens.get() == 2, told.tokens);
            }
        });
        CHECKS.put("a token that does not count ends it for good", user -> {
            try (Told told = new Told(() -> token(user, 600) + "x")) {
                demand(told.ended().getCode() == 3500, told.disconnected);
            }
        });
        CHECKS.put("a client that is kicked stays away", user -> {
            try (Told told = Told.open(() -> token(user, 600))) {
                accepted("DELETE", "/v1/users/" + user + "/connections/" + told.isConnected(1), "");
                demand(told.ended().getCode() == 3503, told.disconnected);
                demand(told.connecting.size() == 1, told.connecting);
            }
        });
        CHECKS.put("presence and history of the user's channel", JavaCentrifuge::presenceAndHistory);
        CHECKS.put("what was pushed to a topic while its server was dead comes once and in order", JavaCentrifuge::recoveredTopic);
        CHECKS.put("a client subscribes itself to a topic that its token allows", JavaCentrifuge::topics);
        CHECKS.put("a client that is idle is pinged, and answers", user -> {
            try (Told told = Told.open(() -> token(user, 600))) {
                Thread.sleep(7000); // Longer than pings and patience together.
                push(user, "\"still\"");
                told.has("\"still\"");
                demand(told.connecting.size() == 1, told.connecting);
            }
        });
        CHECKS.put("a client whose server is drained comes back", user -> {
            try (Told told = Told.open(() -> token(user, 600))) {
                pushLogged(user, "1");
                told.has("1");
                process(0).destroy();
                eventually("it is told of the drain", () -> told.connecting.size() > 1);
                demand(told.connecting.get(1).getCode() == 3001, told.connecting.get(1).getCode());
                pushLogged(user, "2");
                restart(0);
                told.isConnected(2);
                told.has("1", "2");
            }
        });
    }

    public static void main(String[] arguments) {
        boolean failed = false;
        int number = 0;
        for (Map.Entry<String, Check> check : CHECKS.entrySet()) {
            try {
                check.getValue().make("java-" + number++);
                System.out.println("ok " + check.getKey());
            } catch (Throwable error) {
                failed = true;
                System.out.println("FAILED " + check.getKey());
                error.printStackTrace(System.out);
            }
        }
        System.exit(failed ? 1 : 0);
    }

    static void presenceAndHistory(String user) throws Exception {
        try (Told told = Told.open(() -> token(user, 600))) {
            for (String payload : List.of("1", "2", "3")) {
                pushLogged(user, payload);
            }
            told.has("1", "2", "3");
            Client client = told.client;
            String channel = "#" + user;
            PresenceResult presence = certain("the presence", done -> client.presence(channel, done));
            var there = presence.getClients();
            demand(there.size() == 1 && there.get(told.isConnected(1)).getUser().equals(user), there);
            PresenceStatsResult stats = certain("the statistics", done -> client.presenceStats(channel, done));
            demand(stats.getNumClients() == 1 && stats.getNumUsers() == 1, stats);
            HistoryResult page = history(told, channel, new HistoryOptions.Builder());
            long first = told.publications.get(0).getOffset();
            long last = told.publications.get(2).getOffset();
            demand(page.getOffset() == last, page.getOffset());
            demand(values(history(told, channel, limit(-1))).equals("1 2 3"), "all of it");
            demand(values(history(told, channel, limit(2).withReverse(true))).equals("3 2"), "reverse");
            var since = new StreamPosition(first, page.getEpoch());
            demand(values(history(told, channel, limit(10).withSince(since))).equals("2 3"), "since");
            var beyond = new StreamPosition(last + 1, page.getEpoch());
            refused(112, (ResultCallback<HistoryResult> done) -> client.history(channel, limit(10).withSince(beyond).build(), done));
            byte[] data = "{}".getBytes(StandardCharsets.UTF_8);
            refused(108, (ResultCallback<RPCResult> done) -> client.rpc("method", data, done));
            refused(103, (ResultCallback<PublishResult> done) -> client.publish(channel, data, done));
        }
    }

    static HistoryOptions.Builder limit(int limit) {
        return new HistoryOptions.Builder().withLimit(limit);
    }

    static HistoryResult history(Told told, String channel, HistoryOptions.Builder options) throws Exception {
        return answer(done -> told.client.history(channel, options.build(), done));
    }

    static String values(HistoryResult page) {
        return page.getPublications().stream().map(each -> text(each.getData())).collect(Collectors.joining(" "));
    }

    static void recoveredTopic(String user) throws Exception {
        String topic = "room:" + user;
        try (Told told = Told.open(() -> token(user, 600))) {
            Room room = new Room(told, topic);
            eventually("the subscription", () -> room.subscribed.size() == 1);
            answer((ResultCallback<PublishResult> done) -> room.subscription.publish("1".getBytes(StandardCharsets.UTF_8), done));
            eventually("what it has published", () -> room.publications.size() == 1);
            String path = "/v1/topics/" + topic + "/push?durable=true&deadline=500ms";
            kill(0);
            accepted("POST", path, "2");
            accepted("POST", path, "3");
            restart(0);
            told.isConnected(2);
            accepted("POST", path, "4");
            eventually("what was pushed meanwhile", () -> room.publications.size() >= 4);
            demand(room.publications.equals(List.of("1", "2", "3", "4")), room.publications);
            demand(room.subscribed.equals(List.of("false false", "true true")), room.subscribed);
            HistoryResult page = answer(done -> room.subscription.history(limit(2).withReverse(true).build(), done));
            demand(values(page).equals("4 3"), values(page));
        }
    }

    static void topics(String user) throws Exception {
        String allowed = "room-" + user;
        try (Told told = Told.open(() -> token(user, 600, allowed + "*"))) {
            Room room = new Room(told, allowed);
            eventually("the subscription", () -> room.subscribed.size() == 1);
            accepted("POST", "/v1/topics/" + allowed + "/push", "\"to the topic\"");
            eventually("the publication", () -> room.publications.equals(List.of("\"to the topic\"")));
            Room other = new Room(told, "secret");
            eventually("the refusal", () -> other.ended.equals(List.of(103)));
            // The room is left, which the client tells before the server has heard of it, and nothing of it comes.
            room.subscription.unsubscribe();
            String members = "/v1/topics/" + allowed;
            eventually("it is left", () -> accepted("GET", members, "").get("count").getAsInt() == 0);
            demand(room.ended.size() == 1, room.ended);
            accepted("POST", "/v1/topics/" + allowed + "/push", "\"late\"");
            push(user, "\"still here\"");
            told.has("\"still here\"");
            demand(room.publications.size() == 1, room.publications);
        }
    }

    /** A client of a user, and all that it has told of. */
    static class Told extends EventListener implements AutoCloseable {
        final List<ConnectingEvent> connecting = new CopyOnWriteArrayList<>();
        final List<ConnectedEvent> connected = new CopyOnWriteArrayList<>();
        final List<DisconnectedEvent> disconnected = new CopyOnWriteArrayList<>();
        final List<ServerSubscribedEvent> subscribed = new CopyOnWriteArrayList<>();
        final List<ServerPublicationEvent> publications = new CopyOnWriteArrayList<>();
        final AtomicInteger tokens = new AtomicInteger();
        final Client client;

        Told(Supplier<String> token) {
            Options options = new Options();
            options.setMinReconnectDelay(100);
            options.setMaxReconnectDelay(200);
            options.setTokenGetter(new ConnectionTokenGetter() {
                @Override
                public void getConnectionToken(ConnectionTokenEvent event, TokenCallback callback) {
                    tokens.incrementAndGet();
                    callback.Done(null, token.get());
                }
            });
            String address = SERVERS[0].get("terminals").getAsString().replace("/connect", "/connection/websocket");
            client = new Client(address, options, this);
            client.connect();
        }

        /** One that is connected. */
        static Told open(Supplier<String> token) throws Exception {
            Told told = new Told(token);
            told.isConnected(1);
            return told;
        }

        @Override
        public void onConnecting(Client client, ConnectingEvent event) {
            connecting.add(event);
        }

        @Override
        public void onConnected(Client client, ConnectedEvent event) {
            connected.add(event);
        }

        @Override
        public void onDisconnected(Client client, DisconnectedEvent event) {
            disconnected.add(event);
        }

        @Override
        public void onSubscribed(Client client, ServerSubscribedEvent event) {
            subscribed.add(event);
        }

        @Override
        public void onPublication(Client client, ServerPublicationEvent event) {
            publications.add(event);
        }

        /** What it is called by its server. */
        String isConnected(int times) throws Exception {
            eventually("it is connected", () -> connected.size() >= times);
            return connected.get(times - 1).getClient();
        }

        DisconnectedEvent ended() throws Exception {
            eventually("it is told its end", () -> !disconnected.isEmpty());
            return disconnected.get(0);
        }

        void has(String... values) throws Exception {
            eventually("the publications " + List.of(values), () -> publications.size() >= values.length);
            var found = publications.stream().map(each -> text(each.getData())).collect(Collectors.toList());
            demand(found.equals(List.of(values)), found);
        }

        /** How it was subscribed to a channel, each time: whether it came with a position, and whether nothing is missing. */
        void stoodIn(String channel, String... stands) {
            var found = subscribed.stream().filter(each -> each.getChannel().equals(channel))
                .map(each -> each.wasRecovering() + " " + each.getRecovered()).collect(Collectors.toList());
            demand(found.equals(List.of(stands)), found);
        }

        @Override
        public void close() {
            client.disconnect();
        }
    }

    /** A subscription of a client, and all that it has told of. */
    static class Room extends SubscriptionEventListener {
        final List<String> publications = new CopyOnWriteArrayList<>();
        final List<String> subscribed = new CopyOnWriteArrayList<>();
        final List<Integer> ended = new CopyOnWriteArrayList<>();
        final Subscription subscription;

        Room(Told told, String topic) throws Exception {
            subscription = told.client.newSubscription(topic, this);
            subscription.subscribe();
        }

        @Override
        public void onSubscribed(Subscription subscription, SubscribedEvent event) {
            subscribed.add(event.wasRecovering() + " " + event.getRecovered());
        }

        @Override
        public void onUnsubscribed(Subscription subscription, UnsubscribedEvent event) {
            ended.add(event.getCode());
        }

        @Override
        public void onPublication(Subscription subscription, PublicationEvent event) {
            publications.add(text(event.getData()));
        }
    }

    static String text(byte[] data) {
        return new String(data, StandardCharsets.UTF_8);
    }

    static <T> T answer(Consumer<ResultCallback<T>> ask) throws Exception {
        CompletableFuture<T> answered = new CompletableFuture<>();
        ask.accept((error, result) -> {
            if (error == null) {
                answered.complete(result);
            } else {
                answered.completeExceptionally(error);
            }
        });
        return answered.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
    }

    /** The answer of a question that is refused while it is in doubt who is there, as after the start of a server. */
    static <T> T certain(String what, Consumer<ResultCallback<T>> ask) throws Exception {
        List<T> found = new CopyOnWriteArrayList<>();
        eventually(what, () -> {
            try {
                return found.add(answer(ask));
            } catch (ExecutionException error) {
                demand(codeOf(error) == 100, error);
                return false;
            }
        });
        return found.get(0);
    }

    static <T> void refused(int code, Consumer<ResultCallback<T>> ask) throws Exception {
        try {
            answer(ask);
        } catch (ExecutionException error) {
            demand(codeOf(error) == code, error);
            return;
        }
        demand(false, "it was not refused");
    }

    static int codeOf(ExecutionException error) {
        return error.getCause() instanceof ReplyError ? ((ReplyError) error.getCause()).getCode() : 0;
    }

    // What checks stand on: the place that the runner has built for them, and a publisher.

    /** How long a check waits for what must come true: far longer than it takes. */
    static final Duration PATIENCE = Duration.ofSeconds(30);

    static final JsonObject PLACE = JsonParser.parseString(System.getenv("FOREIGN_PLACE")).getAsJsonObject();

    static final JsonObject[] SERVERS = new Gson().fromJson(PLACE.get("servers"), JsonObject[].class);

    static final BufferedReader ANSWERS = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

    static final HttpClient HTTP = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    static void demand(boolean is, Object found) {
        if (!is) {
            throw new AssertionError(String.valueOf(found));
        }
    }

    static void eventually(String what, Callable<Boolean> is) throws Exception {
        for (Instant end = Instant.now().plus(PATIENCE); !is.call(); Thread.sleep(20)) {
            demand(Instant.now().isBefore(end), "this did not come true: " + what);
        }
    }

    static ProcessHandle process(int number) {
        return ProcessHandle.of(SERVERS[number].get("pid").getAsLong()).orElseThrow();
    }

    static void kill(int number) {
        process(number).destroyForcibly();
    }

    /** Has the runner start a server again, after killing it if it lives. */
    static void restart(int number) throws Exception {
        System.out.println("restart " + number);
        SERVERS[number] = JsonParser.parseString(ANSWERS.readLine()).getAsJsonObject();
    }

    /** Sends a request to the API of the second server. */
    static HttpResponse<String> send(String method, String path, String body, String... headers) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(SERVERS[1].get("api").getAsString() + path))
            .method(method, HttpRequest.BodyPublishers.ofString(body)).timeout(PATIENCE)
            .header("Authorization", "Bearer " + PLACE.get("key").getAsString()).header("Content-Type", "text/plain");
        if (headers.length > 0) {
            request.headers(headers);
        }
        return HTTP.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    static JsonObject accepted(String method, String path, String body) throws Exception {
        HttpResponse<String> answer = send(method, path, body);
        demand(answer.statusCode() == 200, answer.body());
        return JsonParser.parseString(answer.body()).getAsJsonObject();
    }

    /** Pushes, and demands that exactly one terminal was written to. */
    static void push(String user, String payload) throws Exception {
        JsonObject receipt = accepted("POST", "/v1/users/" + user + "/push", payload);
        int[] counts = List.of("written", "queued", "failed").stream().mapToInt(name -> receipt.get(name).getAsInt()).toArray();
        demand(counts[0] == 1 && counts[1] == 0 && counts[2] == 0, receipt);
    }

    /** Pushes durably, and repeats it under its id until it is known where in the log it is. */
    static void pushLogged(String user, String payload) throws Exception {
        String id = UUID.randomUUID().toString();
        String path = "/v1/users/" + user + "/push?durable=true&deadline=1s";
        eventually("the server takes the push", () -> {
            HttpResponse<String> answer = send("POST", path, payload, "Idempotency-Key", id);
            String logged = String.valueOf(JsonParser.parseString(answer.body()).getAsJsonObject().get("logged"));
            return answer.statusCode() == 200 && !List.of("\"unknown\"", "\"refused\"").contains(logged);
        });
    }

    /** One of the identity provider that the servers trust, for so many seconds. */
    static String token(String user, long seconds, String... topics) {
        Map<String, Object> claims = new LinkedHashMap<>();
        claims.put("sub", user);
        claims.put("exp", Instant.now().getEpochSecond() + seconds);
        if (topics.length > 0) {
            claims.put("topics", topics);
        }
        String message = part(new Gson().toJson(Map.of("alg", "HS256", "typ", "JWT"))) + "." + part(new Gson().toJson(claims));
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            String secret = PLACE.getAsJsonObject("tokens").get("secret").getAsString();
            mac.init(new SecretKeySpec(secret.getBytes(StandardCharsets.UTF_8), "HmacSHA256"));
            byte[] signature = mac.doFinal(message.getBytes(StandardCharsets.UTF_8));
            return message + "." + Base64.getUrlEncoder().withoutPadding().encodeToString(signature);
        } catch (java.security.GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    static String part(String text) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }
}
