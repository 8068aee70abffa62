import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.charset.*;
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.logging.Logger;
import java.util.regex.*;
import org.biomistral.nlu.*;

/** HL7 v2 over MLLP in, an ACK with a FHIR R4 bundle of the spans of its OBX texts out; see README.md. */
public final class MllpListener implements AutoCloseable {
    private static final Logger LOG = Logger.getLogger("mllp");
    private static final int LONGEST = 16 << 20;
    private static final Pattern ESCAPE = Pattern.compile("\\\\(?:([FSTRE])|\\.br)\\\\");
    final ServerSocket server;
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private final Model model;
    private final Schema schema;

    /** Listens on the loopback interface; port 0 is any. */
    public MllpListener(int port, Model model, Schema schema) throws IOException {
        this.server = new ServerSocket(port, 50, InetAddress.getLoopbackAddress());
        this.model = model;
        this.schema = schema;
        threads.execute(this::accept);
    }

    @Override
    public void close() throws IOException {
        server.close();
        threads.shutdown();
    }

    private void accept() {
        try {
            while (true) {
                Socket socket = server.accept();
                threads.execute(() -> serve(socket));
            }
        } catch (IOException closed) {
            LOG.info("closed");
        }
    }

    /** One connection, with a session of its own: a frame is answered before the next one is read. */
    private void serve(Socket socket) {
        try (Socket open = socket; Session session = model.session()) {
            InputStream in = new BufferedInputStream(open.getInputStream());
            for (byte[] frame = read(in); frame != null; frame = read(in)) {
                open.getOutputStream().write(("\u000B" + answer(session, frame) + "\u001C\r").getBytes(StandardCharsets.UTF_8));
            }
        } catch (IOException e) {
            LOG.warning("connection lost: " + e.getClass().getSimpleName());
        }
    }

    /** The bytes between VT and FS CR; null at the end of the stream. */
    private static byte[] read(InputStream in) throws IOException {
        ByteArrayOutputStream frame = new ByteArrayOutputStream();
        int last = in.read();
        while (last != -1 && last != 0x0B) {
            last = in.read();
        }
        for (int next = in.read(); next != -1 && frame.size() <= LONGEST; last = next, next = in.read()) {
            if (last == 0x1C && next == '\r') {
                return Arrays.copyOf(frame.toByteArray(), frame.size() - 1);
            }
            frame.write(next);
        }
        return null;
    }

    private String answer(Session session, byte[] frame) {
        String[] head = new String(frame, StandardCharsets.ISO_8859_1).split("\r", 2)[0].split("\\|", -1);
        if (head.length < 12 || !head[0].equals("MSH") || !head[1].equals("^~\\&")) {
            return acknowledge("|||||||||||".split("\\|", -1), "AR", "MSH: expected one with the usual delimiters", "");
        }
        try {
            String name = head.length > 17 ? head[17] : "";
            Charset charset = Arrays.asList("", "ASCII", "UNICODE UTF-8").contains(name) ? StandardCharsets.UTF_8
                    : Charset.forName("ISO-" + name.replace('/', '-'));
            return answer(session, head, charset.newDecoder().decode(ByteBuffer.wrap(frame)).toString());
        } catch (CharacterCodingException | IllegalArgumentException e) {
            return acknowledge(head, "AR", "MSH-18: expected a message in the character set named there", "");
        } catch (NluException e) {
            return acknowledge(head, "AE", e.status().name(), "");
        }
    }

    private String answer(Session session, String[] head, String message) {
        List<String> texts = new ArrayList<>();
        for (String segment : message.split("[\r\n]+")) {
            String[] fields = segment.split("\\|", -1);
            if (fields[0].equals("OBX") && fields.length > 5 && Arrays.asList("TX", "FT", "ST").contains(fields[2])) {
                texts.add(unescape(fields[5].replace('~', '\n')));
            }
        }
        StringJoiner entries = new StringJoiner(",", "{'resourceType':'Bundle','type':'collection','entry':[", "]}");
        entries.setEmptyValue("{'resourceType':'Bundle','type':'collection'}");
        StringJoiner failed = new StringJoiner(", ");
        List<Result> results = session.extract(schema, texts, null);
        for (int i = 0; i < results.size(); i++) {
            if (results.get(i).status() != Status.OK) {
                failed.add("text " + (i + 1) + ": " + results.get(i).status());
            }
            for (Span span : results.get(i).spans()) {
                entries.add("{'resource':{'resourceType':'Observation','status':'preliminary','code':{'text':" + quote(span.label())
                        + "},'valueString':" + quote(span.text()) + ",'note':[{'text':'text " + (i + 1) + "'}],'extension':["
                        + "{'url':'urn:biomistral-nlu:span','extension':[{'url':'start','valueUnsignedInt':" + span.start()
                        + "},{'url':'end','valueUnsignedInt':" + span.end() + "},{'url':'unit','valueCode':'utf16'}]}]}}");
            }
        }
        return acknowledge(head, failed.length() == 0 ? "AA" : "AE", failed.toString(), entries.toString().replace('\'', '"'));
    }

    /** The acknowledgment; its Z segment has the bundle, in base64. Neither the rest nor the log has any text of the message. */
    private String acknowledge(String[] head, String code, String reason, String bundle) {
        LOG.info("message answered: " + code + " " + reason);
        String now = String.format("%1$tY%1$tm%1$td%1$tH%1$tM%1$tS", new Date());
        return "MSH|^~\\&|" + String.join("|", head[4], head[5], head[2], head[3], now, "", "ACK", UUID.randomUUID().toString(),
                head[10], head[11]) + "||||||UNICODE UTF-8\rMSA|" + code + "|" + head[9] + "|" + reason + "\r"
                + (bundle.isEmpty() ? "" : "ZFH|application/fhir+json|Base64|"
                        + Base64.getEncoder().encodeToString(bundle.getBytes(StandardCharsets.UTF_8)) + "\r");
    }

    /** HL7's escapes of delimiters and line breaks; others stay as they are. */
    private static String unescape(String text) {
        Matcher escape = ESCAPE.matcher(text);
        StringBuffer out = new StringBuffer();
        while (escape.find()) {
            escape.appendReplacement(out, "");
            out.append(escape.group(1) == null ? '\n' : "|^&~\\".charAt("FSTRE".indexOf(escape.group(1))));
        }
        return escape.appendTail(out).toString();
    }

    /** Text in JSON, between single quotes as the rest until they are replaced. */
    private static String quote(String text) {
        return text.chars().mapToObj(c -> c < ' ' || "'\"\\".indexOf(c) >= 0 ? String.format("\\u%04x", c) : (char) c + "")
                .collect(java.util.stream.Collectors.joining("", "'", "'"));
    }

    public static void main(String[] arguments) throws IOException {
        Schema schema = Schema.of(new String(Files.readAllBytes(Paths.get(arguments[2])), StandardCharsets.UTF_8));
        MllpListener listener = new MllpListener(Integer.parseInt(arguments[0]), Model.open(arguments[1]), schema);
        LOG.info("listening on port " + listener.server.getLocalPort());
    }
}
