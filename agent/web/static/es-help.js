// The help of options in Spanish, by section and option, for the settings. Before each
// stand the first digits of the SHA-256 of the English, which is reference.uci's: a test
// sees that none is missing, and that none has changed since.

export default {
  // 72d7c357
  'globalnet': 'El nodo.',
  // 326675f0
  'globalnet.network': 'El nombre del vecindario, de 1 a 64 bytes. Los routers sólo se enlazan con routers del mismo nombre y la misma contraseña.',
  // a09bea71
  'globalnet.passphrase': 'Hace privado el vecindario: de 8 a 256 bytes. Que nadie más que root lea el archivo que la contiene. Sin ella cualquiera puede unirse.',
  // f1053009
  'globalnet.passphrase_file': 'O un archivo cuya única línea es la contraseña; modo 0600.',
  // f5d30591
  'globalnet.interface': 'Interfaces en las que buscar vecinos: nombres, o patrones con * ? [a-z].',
  // 9a86f8b0
  'globalnet.exclude': 'Interfaces que se dejan fuera aunque coincidan. En cuanto arriba se nombra una interfaz, esta lista está vacía si no se dice otra cosa. Nunca se usan lo ni gn-*.',
  // 2c210e54
  'globalnet.listen_port': 'Puerto de la señalización (TCP) y de las respuestas STUN (UDP).',
  // b4195c26
  'globalnet.port_range': 'Puertos UDP de los enlaces, uno por vecino. Ábrelos en el cortafuegos.',
  // b0361c34
  'globalnet.state_dir': 'Archivos. Una ruta relativa empieza en la carpeta de este archivo. Quien no es root los encuentra en ~/.local/state/globalnet.',
  // 4479abac
  'globalnet.identity': 'La clave del nodo; se crea en el primer arranque. Por defecto: identity.key en state_dir.',
  // fd966a87
  'globalnet.socket': 'El socket de control. Por defecto: globalnet.sock en state_dir, si este se indicó.',
  // a75c9077
  'globalnet.log_level': 'debug, info, warn o error: cuánto se anota.',
  // bc5c58bd
  'globalnet.wireguard': 'Quién cifra los enlaces: auto (el núcleo donde puede), kernel (el núcleo), user (el programa).',
  // b14fa19b
  'globalnet.memory': 'Tamaño de los búferes: auto (small por debajo de 256 MiB de RAM), small, large.',
  // c502baf3
  'globalnet.dht': 'La tabla distribuida: full guarda registros de otros, client sólo pregunta y publica (para nodos que duermen o tienen poca memoria), off no hace nada.',
  // c9c62935
  'globalnet.console_port': 'Una consola para netcat en este puerto de 127.0.0.1: sólo muestra, no cambia nada, pero puede usarla quien tenga una cuenta en la máquina. 0: ninguna.',
  // 15ab71fc
  'globalnet.max_neighbours': 'Cuántos vecinos a la vez como mucho, de 1 a 1000.',
  // b293cbe8
  'globalnet.hello_interval': 'Segundos entre dos saludos de Babel en un enlace sin tráfico, de 0.1 a 600.',
  // 8f3d4ef6
  'globalnet.update_interval': 'Segundos entre dos anuncios completos de Babel; no menos que hello_interval. Crece con la tabla.',
  // da0cf155
  'peer': 'Un nodo al que se llega por internet; una sección para cada uno.',
  // 3b524a22
  'peer.node': 'Su NodeID, como lo muestra allí `globalnet key show`.',
  // 2448f0ab
  'peer.address': 'Dónde escucha: dirección IP o nombre, y puerto (18245 si no se dice). IPv6 con puerto va entre corchetes.',
  // b0bc5f8d
  'peer.enabled': '0 deja la sección sin efecto.',
  // ab588138
  'onion': 'La cebolla: circuitos anónimos a través de otros nodos.',
  // 0b04cc3c
  'onion.enabled': '0 prescinde de la cebolla: no se lleva nada de nadie y no hay proxy.',
  // 2e6e690a
  'onion.relay': 'Llevar circuitos de otros dentro de la red. 0 hace el nodo invisible para ellos; entonces sólo usa la cebolla.',
  // f01d0b8d
  'onion.hops': 'Relés de un circuito, de 1 a 8.',
  // 3adfdec6
  'onion.min_hops': 'Donde hay menos relés los circuitos son más cortos, pero no más que esto. Con 3 no sale nada hasta que se conocen tres relés.',
  // 2b58140e
  'onion.family': 'Un secreto que comparten todos tus relés, de 16 a 256 bytes: ningún camino pasa por dos de ellos. Hasta 4.',
  // 709ae2ec
  'onion.rate': 'Lo que se lleva para otros, 0 es sin límite: Mbit/s a la larga.',
  // 709ae2ec
  'onion.burst': 'Lo que se lleva para otros, 0 es sin límite: MB de golpe.',
  // 709ae2ec
  'onion.quota': 'Lo que se lleva para otros, 0 es sin límite: GB al mes.',
  // a0d9bf64
  'exit': 'A qué pueden llegar los circuitos que terminan aquí.',
  // 487e4eb1
  'exit.policy': 'Internet: none (nada), web (puertos 80 y 443), reduced (los puertos corrientes), all (todo menos correo a servidores). Sea cual sea, las direcciones privadas, este router y su red quedan fuera de alcance.',
  // 90251cc5
  'exit.rule': 'Reglas antes de la política; vale la primera que encaja.',
  // bff0f05b
  'exit.allow_private': 'Direcciones privadas que las reglas pueden abrir.',
  // 2de50662
  'exit.inside': 'Conexiones a otros nodos de la malla.',
  // 3746c6e8
  'exit.serve_port': 'Puertos de este mismo nodo.',
  // af013e1f
  'exit.secret': 'Sólo pueden salir por aquí los clientes que conocen este secreto, de 16 a 256 bytes.',
  // a2c0fb36
  'exit.connections': 'Conexiones a la vez, de 1 a 65536. Un router con poca memoria no abre más de 512, salvo que aquí haya otro número.',
  // f8e82fc5
  'exit.rate': 'Tráfico con internet, 0 es sin límite: Mbit/s a la larga.',
  // f8e82fc5
  'exit.burst': 'Tráfico con internet, 0 es sin límite: MB de golpe.',
  // f8e82fc5
  'exit.quota': 'Tráfico con internet, 0 es sin límite: GB al mes.',
  // 1b9250d2
  'proxy': 'Una puerta para programas: SOCKS5, SOCKS4a y HTTP CONNECT. Una sección para cada una; si no hay ninguna, esta.',
  // b0bc5f8d
  'proxy.enabled': '0 deja la sección sin efecto.',
  // f9544b36
  'proxy.listen': 'Puerto, o dirección y puerto. Puede usarla quien llegue a ella.',
  // c61a08fc
  'proxy.path': 'Saltos a mano, NodeID, nombre o rand, hasta internet. Cada conexión tiene entonces su propio circuito. Sin esto los caminos se eligen solos.',
  // a58a8b34
  'proxy.isolate_destination': '1 da a cada destino circuitos propios.',
  // 69f38c84
  'proxy.wait': '1 responde sólo cuando el destino ha respondido: más lento, con errores exactos.',
  // 43d52bef
  'tunnel': 'Un puerto local que lleva por un camino a un destino. Una sección para cada uno.',
  // b0bc5f8d
  'tunnel.enabled': '0 deja la sección sin efecto.',
  // 5cd5f88f
  'tunnel.path': 'Dónde escucha, saltos, destino.',
  // ea47dcaf
  'name': 'Un nombre que vale en este router, para un nodo o un servicio. Una sección para cada uno.',
  // 1376cee3
  'name.name': 'El nombre, si no es el de la sección: ese no lleva -.',
  // 25ea443d
  'name.node': 'Los 56 caracteres, con o sin .gnet.alt.',
  // 52e3968c
  'exit_secret': 'Lo que una salida quiere oír de aquellos en quienes confía. Una sección para cada una.',
  // d0dec46f
  'exit_secret.node': 'Su NodeID.',
  // 67e5d9df
  'exit_secret.secret': 'Su secreto.',
  // d157601e
  'hidden_service': 'Un servicio oculto: se llega a él por la dirección que se deduce de su clave, y nadie sabe dónde está. Una sección para cada uno; la escribe `globalnet service add`.',
  // b0bc5f8d
  'hidden_service.enabled': '0 deja la sección sin efecto.',
  // 6767842e
  'hidden_service.port': 'Puerto del servicio, y lo que hay detrás: máquina:puerto, unix:RUTA, o la ruta de una carpeta cuyos archivos se sirven.',
  // a083b7de
  'hidden_service.listing': '1 muestra lo que hay en carpetas sin index.html.',
  // b697b99a
  'hidden_service.key': 'La clave del servicio; se crea si no la hay. Quien la tiene es el servicio. Por defecto: services/NOMBRE.key en state_dir.',
  // 7a54f57d
  'hidden_service.points': 'Puntos de introducción, de 3 a 10. Con más es más difícil impedir el paso a la gente.',
  // 2bc203e0
  'hidden_service.restricted': '1 responde sólo a los clientes de abajo; los demás no pueden saber que existe.',
  // eee90f85
  'hidden_service.client': 'Claves de clientes; allí las muestra `globalnet service client new`. Se les atiende primero, y sólo a ellos si el servicio es restringido.',
  // bb745655
  'hidden_service.single_hop': '1 renuncia al anonimato de este nodo a cambio de velocidad: el servicio usa un salto en vez de tres. Sus clientes siguen siendo anónimos.',
  // 5be40792
  'hidden_service.work': '0 no pide nunca trabajo a los clientes, vengan cuantos vengan.',
  // e885906b
  'service_key': 'La clave con la que el servicio restringido de alguien deja entrar a este nodo. Una sección para cada una; la escribe `globalnet service client new`.',
  // 711ac23f
  'service_key.service': 'Su dirección, con o sin .gnet.alt.',
  // 6a063dfc
  'service_key.file': 'La clave. Por defecto: clients/NOMBRE.key en state_dir.',
  // 80a3c110
  'lan': 'Los clientes de una red local usan la red sin instalar nada. Una sección para cada red con un modo propio.',
  // b0bc5f8d
  'lan.enabled': '0 deja la sección sin efecto.',
  // 46a524b4
  'lan.mode': 'names: los nombres que acaban en gnet.alt llevan a servicios y nodos, lo demás sigue como antes. all: todo va por circuitos, lo que no puede se descarta, y así queda aunque el agente termine. off: nada.',
  // 4111b5da
  'lan.interface': 'Las interfaces de la red local.',
  // 0ef2e74c
  'lan.dns': '1 en modo names: el DNS de los clientes llega al agente; los nombres fuera de gnet.alt se buscan a través de salidas. En modo all siempre es así. Con 0, el servidor DNS de la red debe enviar gnet.alt a 127.0.0.1#18320.',
  // f657261b
  'lan.udp': '1 en modo all: UDP viaja también, si las salidas lo aceptan. Con 0 se rechaza, y así los navegadores pasan enseguida a TCP.',
  // 5d933b74
  'lan.block_doh': '1 niega los nombres de los servidores DNS por HTTPS más usados.',
  // 782a7d68
  'lan.mesh': '1 deja que los clientes lleguen por este router a direcciones de la malla de otros nodos.',
  // b21bbb3d
  'lan.client_rate': 'Lo más que puede recibir, y enviar, un cliente, en Mbit/s; 0 es sin límite.',
  // 1297b98b
  'lan.client': 'Un cliente con un modo propio, off, names, all o block, por su dirección MAC o IP.',
  // 1236642f
  'web': 'La página del router para la gente de su red: http://router.gnet.alt/ donde hay una sección lan. `globalnet web password` pone la contraseña del dueño.',
  // cf7a4500
  'web.enabled': '0 no sirve la página.',
  // c8ac3f5a
  'web.name': 'Cómo llama la página a este router, 64 bytes como mucho; si no, el nombre de la máquina.',
  // 4a75d71e
  'web.listen': 'Otras direcciones en las que servirla: de la propia máquina, o de una interfaz que nombra una sección lan. Las demás se rechazan.',
  // 9e9b7af9
  'web.public_status': '0 no muestra nada a quien no ha entrado; con 1 los invitados ven los vecinos y cómo se llega a ellos, pero ni direcciones ni tráfico de nadie.',
  // b44b9e05
  'web.metrics': '1 sirve números para Prometheus en /metrics a toda la red local, sin contraseña: los enlaces y lo que llevaron, ni clientes ni destinos.',
  // 8511002e
  'service': 'Cómo ejecuta el router el agente; lo lee el script de arranque. Los números cambian con `/etc/init.d/globalnet restart`.',
  // 61709146
  'service.enabled': '0 impide que el agente arranque.',
  // 8ac98622
  'service.memlimit': 'Límite de la memoria dinámica de Go en MiB (GOMEMLIMIT); 0 según la placa: `globalnet board`.',
  // 8ac98622
  'service.gc': 'Porcentaje de crecimiento con el que se recoge la memoria dinámica de Go (GOGC); 0 según la placa: `globalnet board`.',
  // e2a0d54d
  'service.maxprocs': 'Cuántos procesadores usar como mucho; 0 para todos.',
  // 0d596f38
  'service.jail': '1 mete al agente en la jaula de OpenWrt, si está instalada (procd-ujail): conserva tres capacidades de root y sólo ve sus propios archivos, así que no puede ofrecer carpetas. Aún no se ha probado en routers.',
  // ec055a04
  'service.manage_firewall': '0 deja el cortafuegos a su dueño: ni reglas ni zona.',
  // b248b06c
  'service.manage_dns': '0 deja dnsmasq a su dueño. Si no, `globalnet setup` hace que envíe gnet.alt al agente mientras haya una sección lan.',
  // 73acc7b5
  'service.manage_wireless': '1 deja que `globalnet setup` actúe en las secciones radio de abajo; 0 deja las radios en paz. Lo pone `globalnet radio setup`.',
  // 645d2f7f
  'service.led': 'Una luz de /sys/class/leds que muestra el tráfico de la primera radio.',
  // 0a76c582
  'radio': 'Una radio que se da a la malla, por su nombre en /etc/config/wireless. Una sección para cada una; la escribe `globalnet radio setup`, que prepara también el resto.',
  // 3893dead
  'radio.enabled': '0 devuelve la radio.',
  // 98bc9a0e
  'radio.mode': 'mesh (802.11s), adhoc (IBSS), o auto: lo que mejor hace su controlador.',
  // bf5b26ca
  'radio.channel': 'El canal, el mismo en todos los routers al alcance; 0 deja el de la radio, que entonces debe ser fijo.',
  // 0e72ee82
  'radio.mesh_id': 'Nombre de la malla o de la celda en el aire.',
  // 5d93fb7a
  'radio.changed': 'Lo que `globalnet setup` cambió en secciones que no son suyas, para devolverlo: no se toca a mano.',
};
