import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertFalse;
import static org.junit.Assert.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.biomistral.nlu.Model;
import org.biomistral.nlu.Schema;
import org.junit.AfterClass;
import org.junit.BeforeClass;
import org.junit.Test;

/** The listener of examples/java over loopback, with a real model: {@code -Dbmn.model=FILE}. */
public class MllpListenerTest {
    private static final String HEAD = "MSH|^~\\&|LAB|NORTH|NLU|SOUTH|20261122||ORU^R01|id-7|P|2.5.1||||||";
    private static final String[] TEXTS = {
        "\uD83D\uDC69 Sj\u00F6gren's syndrome & \"dry eyes\" | hydroxychloroquine",
        "Ibuprofen caused a rash.\nMetformin goes on at 500 mg^day~2.",
    };
    private static final List<String> LOG = Collections.synchronizedList(new ArrayList<>());
    private static Model model;
    private static Schema schema;
    private static MllpListener listener;

    @BeforeClass
    public static void open() throws IOException {
        Logger log = Logger.getLogger("mllp");
        log.setUseParentHandlers(false);
        log.addHandler(new Handler() {
            @Override
            public void publish(LogRecord line) {
                LOG.add(line.getMessage());
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        });
        model = Model.open(System.getProperty("bmn.model"));
        schema = Schema.of("{\"labels\": [\"problem\", \"drug\"]}");
        listener = new MllpListener(0, model, schema);
    }

    @AfterClass
    public static void close() throws IOException {
        listener.close();
        schema.close();
        model.close();
        assertFalse(LOG.isEmpty());
        for (String line : LOG) {
            for (String word : new String[] {"gren", "rash", "etformin", "buprofen"}) {
                assertFalse(line.contains(word));
            }
        }
    }

    private static String escape(String text) {
        return text.replace("\\", "\\E\\").replace("|", "\\F\\").replace("^", "\\S\\").replace("&", "\\T\\").replace("~", "\\R\\")
                .replace("\n", "\\.br\\");
    }

    private static String observation(String charset) {
        return HEAD + charset + "\rPID|1||4711\rOBR|1\rOBX|1|TX|note||" + escape(TEXTS[0]) + "\rOBX|2|NM|weight||61\rOBX|3|FT|note||"
                + escape(TEXTS[1]) + "\r";
    }

    /** Each frame's answer, its segments split. */
    private static List<String[]> send(byte[]... messages) throws IOException {
        List<String[]> answers = new ArrayList<>();
        try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), listener.server.getLocalPort())) {
            for (byte[] message : messages) {
                socket.getOutputStream().write(0x0B);
                socket.getOutputStream().write(message);
                socket.getOutputStream().write(new byte[] {0x1C, 0x0D});
                InputStream in = socket.getInputStream();
                assertEquals(0x0B, in.read());
                ByteArrayOutputStream answer = new ByteArrayOutputStream();
                for (int next = in.read(); next != 0x1C; next = in.read()) {
                    assertTrue(next != -1);
                    answer.write(next);
                }
                assertEquals(0x0D, in.read());
                answers.add(new String(answer.toByteArray(), StandardCharsets.UTF_8).split("\r"));
            }
        }
        return answers;
    }

    private static String bundle(String[] answer) {
        String prefix = "ZFH|application/fhir+json|Base64|";
        assertTrue(answer[2].startsWith(prefix));
        return new String(Base64.getDecoder().decode(answer[2].substring(prefix.length())), StandardCharsets.UTF_8);
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    @Test
    public void spansComeBackAsFhir() throws IOException {
        for (String[] answer : send(utf8(observation("UNICODE UTF-8")), utf8(observation("")))) {
            String[] head = answer[0].split("\\|", -1);
            assertEquals("NLU", head[2]);
            assertEquals("LAB", head[4]);
            assertEquals("UNICODE UTF-8", head[17]);
            assertEquals("MSA|AA|id-7|", answer[1]);
            String bundle = bundle(answer);
            assertTrue(bundle.startsWith("{\"resourceType\":\"Bundle\",\"type\":\"collection\""));
            Matcher spans = Pattern.compile("\"valueString\":\"(.*?)\",\"note\":\\[\\{\"text\":\"text (\\d)\"\\}\\],.*?"
                    + "\"valueUnsignedInt\":(\\d+).*?\"valueUnsignedInt\":(\\d+)\\},\\{\"url\":\"unit\",\"valueCode\":\"utf16\"")
                    .matcher(bundle);
            int found = 0;
            while (spans.find()) {
                String text = TEXTS[Integer.parseInt(spans.group(2)) - 1];
                String span = text.substring(Integer.parseInt(spans.group(3)), Integer.parseInt(spans.group(4)));
                assertEquals(span, spans.group(1).replace("\\u0027", "'").replace("\\u0022", "\"").replace("\\u000a", "\n"));
                found++;
            }
            assertTrue("expected spans in " + TEXTS.length + " texts", found > 0);
        }
    }

    @Test
    public void theCharacterSetIsTheMessages() throws IOException {
        String message = HEAD + "8859/1\rOBX|1|TX|note||Sj\u00F6gren's syndrome\r";
        Charset latin1 = StandardCharsets.ISO_8859_1;
        byte[] unknown = utf8(message.replace("8859/1", "ISO IR87"));
        byte[] wrong = message.replace("8859/1", "UNICODE UTF-8").getBytes(latin1);
        List<String[]> answers = send(message.getBytes(latin1), unknown, wrong);
        assertTrue(answers.get(0)[1].startsWith("MSA|AA|id-7|"));
        assertTrue(answers.get(1)[1].startsWith("MSA|AR|id-7|MSH-18"));
        assertTrue(answers.get(2)[1].startsWith("MSA|AR|id-7|MSH-18"));
    }

    @Test
    public void whatCannotBeAnsweredIsSaid() throws IOException {
        StringBuilder tooLong = new StringBuilder(HEAD).append("UNICODE UTF-8\rOBX|1|TX|note||");
        for (int i = 0; i < 20000; i++) {
            tooLong.append("rash and ");
        }
        List<String[]> answers = send(
                utf8("hello"), new byte[0], utf8(tooLong + "\rOBX|2|TX|note||Metformin.\r"), utf8(HEAD + "\rPID|1\r"));
        assertTrue(answers.get(0)[1].startsWith("MSA|AR||MSH"));
        assertTrue(answers.get(1)[1].startsWith("MSA|AR||MSH"));
        assertEquals("MSA|AE|id-7|text 1: TOO_LONG", answers.get(2)[1]);
        assertEquals("{\"resourceType\":\"Bundle\",\"type\":\"collection\"}", bundle(answers.get(3)));
    }
}
